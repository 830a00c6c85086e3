// SPDX-License-Identifier: Apache-2.0
// Attention for float32 and float64. Forward, threads take blocks of queries; backward, heads of
// keys, whose gradients are then added up in one order. So results do not depend on the threads,
// and neither pass has more memory than a block per thread.
#include <algorithm>
#include <atomic>

#include "backend/cpu/kernels.h"
#include "backend/cpu/simd/attention_table.h"
#include "backend/cpu/simd/cpu_isa.h"
#include "backend/cpu/simd/random.h"
#include "base/parallel.h"
#include "ops/common/attention.h"
#include "ops/ops.h"

namespace ostria::cpu {
namespace {

using ops::AttentionAttr;

struct AttentionState : KernelState {
  AttentionArgs args = {};  // all but addresses and what depends on the key
  ops::AttentionOperands at;
  int inputs = 0, q = 0;  // q: which operand it is
  DType dtype = DType::kFloat32;
  bool wide_lengths = false;
  int64_t batch = 0, items = 0, slots = 1, slot_bytes = 0;
  double rate = 0;
  uint64_t stream = 0;
  const AttentionTable* table = nullptr;
};

Support SupportsAttention(const NodeDesc& node) {
  const DType dtype = node.outputs[0].dtype;
  if (dtype != DType::kFloat32 && dtype != DType::kFloat64) {
    return Support::No("is for float32 and float64, not ", dtype);
  }
  return NeedsDense(node);
}

// `first`: the operand q.
std::unique_ptr<AttentionState> Make(const NodeDesc& node, int first, bool grad) {
  auto state = std::make_unique<AttentionState>();
  const MemDesc &q = node.inputs[first], &k = node.inputs[first + 1], &v = node.inputs[first + 2];
  AttentionArgs& a = state->args;
  state->at = ops::OperandsOf(node.attrs, first + 3, grad);
  state->inputs = static_cast<int>(node.inputs.size());
  state->q = first;
  state->dtype = q.dtype;
  state->batch = q.sizes[0];
  a.length_q = q.sizes[1];
  a.heads = q.sizes[2];
  a.dim = q.sizes[3];
  a.length_kv = k.sizes[1];
  a.kv_heads = k.sizes[2];
  a.dim_v = v.sizes[3];
  a.scale = ops::ScaleOf(node.attrs, a.dim);
  a.causal = node.attr<bool>(AttentionAttr::kCausal);
  if (state->at.mask >= 0) {
    const MemDesc& mask = node.inputs[state->at.mask];
    a.bias = mask.dtype != DType::kBool;
    a.mask_batch = mask.sizes[0] == 1 ? 0 : mask.strides[0];
    a.mask_head = mask.sizes[1] == 1 ? 0 : mask.strides[1];
    a.mask_row = mask.sizes[2] == 1 ? 0 : mask.strides[2];
  }
  if (state->at.lengths >= 0) {
    state->wide_lengths = node.inputs[state->at.lengths].dtype == DType::kInt64;
  }
  state->rate = node.attr<double>(AttentionAttr::kDropout);
  state->stream = static_cast<uint64_t>(node.attr<int64_t>(AttentionAttr::kStream));
  state->table = &OfCurrentIsa(kAttentionBaseline, kAttentionAvx2, kAttentionAvx512);
  const int64_t blocks = (a.length_q + kAttentionBlock - 1) / kAttentionBlock;
  state->items = state->batch * (grad ? a.kv_heads : a.heads * blocks);
  state->slots = std::clamp<int64_t>(node.device->threads, 1, std::max<int64_t>(1, state->items));
  const int64_t elements = q.dtype == DType::kFloat32 ? state->table->f32.workspace(a.dim, a.dim_v)
                                                      : state->table->f64.workspace(a.dim, a.dim_v);
  state->slot_bytes = (elements * SizeOf(q.dtype) + 255) / 256 * 256;
  state->workspace_bytes = state->slots * state->slot_bytes;
  state->detail = Name(CurrentIsa());
  return state;
}

std::unique_ptr<KernelState> PrepareForward(const NodeDesc& node) { return Make(node, 0, false); }
std::unique_ptr<KernelState> PrepareBackward(const NodeDesc& node) { return Make(node, 3, true); }

template <class T>
const AttentionFns<T>& KernelsOf(const AttentionTable& table) {
  if constexpr (sizeof(T) == 4) {
    return table.f32;
  } else {
    return table.f64;
  }
}

int64_t KeysOf(const AttentionState& s, void* const* ptrs, int64_t batch) {
  if (s.at.lengths < 0) return s.args.length_kv;
  const void* lengths = ptrs[s.at.lengths];
  const int64_t n = s.wide_lengths ? static_cast<const int64_t*>(lengths)[batch]
                                   : static_cast<const int32_t*>(lengths)[batch];
  return std::clamp<int64_t>(n, 0, s.args.length_kv);
}

AttentionArgs Bind(const AttentionState& s, void* const* ptrs) {
  AttentionArgs a = s.args;
  a.q = ptrs[s.q];
  a.k = ptrs[s.q + 1];
  a.v = ptrs[s.q + 2];
  if (s.at.mask >= 0) a.mask = ptrs[s.at.mask];
  if (s.at.key >= 0) {
    const auto* key = static_cast<const int64_t*>(ptrs[s.at.key]);
    const DropoutLaw law = DropoutLawOf(
        {static_cast<uint64_t>(key[0]), s.stream, static_cast<uint64_t>(key[1])}, s.rate);
    a.drop = true;
    a.keep = law.factor;
    a.last = law.last;
    std::copy_n(law.key, 2, a.key);
    a.step = law.step;
    const auto row = static_cast<uint64_t>(a.heads * a.length_q * a.length_kv);
    a.first = static_cast<uint64_t>(*static_cast<const int64_t*>(ptrs[s.at.offset])) * row;
  }
  return a;
}

// Calls fn(item, workspace) for every item, whoever is free next. Each item writes its own results.
template <class T, class Fn>
void ForItems(const AttentionState& s, void* workspace, Fn fn) {
  std::atomic<int64_t> next{0};
  ParallelFor(s.slots, 1, [&](int64_t begin, int64_t end) {
    for (int64_t slot = begin; slot < end; ++slot) {
      T* work = reinterpret_cast<T*>(static_cast<char*>(workspace) + slot * s.slot_bytes);
      for (int64_t item; (item = next.fetch_add(1, std::memory_order_relaxed)) < s.items;) {
        fn(item, work);
      }
    }
  });
}

template <class T>
void Forward(const AttentionState& s, void* const* ptrs) {
  AttentionArgs a = Bind(s, ptrs);
  a.y = ptrs[s.inputs];
  a.lse = ptrs[s.inputs + 1];
  const auto& kernels = KernelsOf<T>(*s.table);
  const int64_t blocks = s.items / (s.batch * a.heads);
  ForItems<T>(s, ptrs[s.inputs + 2], [&](int64_t item, T* work) {
    // The last blocks first: where the limit is causal they have the most keys.
    const int64_t block = blocks - 1 - item % blocks, head = item / blocks;
    const int64_t batch = head / a.heads;
    kernels.forward(a, batch, head % a.heads, block * kAttentionBlock, KeysOf(s, ptrs, batch),
                    work);
  });
}

template <class T>
void Backward(const AttentionState& s, void* const* ptrs) {
  AttentionArgs a = Bind(s, ptrs);
  a.g = ptrs[0];
  a.y = ptrs[1];
  a.lse = ptrs[2];
  if (s.at.lse_grad >= 0) a.lse_grad = ptrs[s.at.lse_grad];
  a.dq = ptrs[s.inputs];
  a.dk = ptrs[s.inputs + 1];
  a.dv = ptrs[s.inputs + 2];
  const auto& kernels = KernelsOf<T>(*s.table);
  ForItems<T>(s, ptrs[s.inputs + 3], [&](int64_t item, T* work) {
    const int64_t batch = item / a.kv_heads;
    kernels.backward(a, batch, item % a.kv_heads, KeysOf(s, ptrs, batch), work);
  });
}

void LaunchForward(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const AttentionState&>(state);
  s.dtype == DType::kFloat32 ? Forward<float>(s, ptrs) : Forward<double>(s, ptrs);
}

void LaunchBackward(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const AttentionState&>(state);
  s.dtype == DType::kFloat32 ? Backward<float>(s, ptrs) : Backward<double>(s, ptrs);
}

constexpr KernelDef kKernels[] = {
    {&ops::kAttention, "blocks", SupportsAttention, PrepareForward, LaunchForward},
    {&ops::kAttentionGrad, "blocks", SupportsAttention, PrepareBackward, LaunchBackward},
};

}  // namespace

std::span<const KernelDef> AttentionKernels() { return kKernels; }

}  // namespace ostria::cpu
