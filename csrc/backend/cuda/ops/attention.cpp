// SPDX-License-Identifier: Apache-2.0
// Attention of our own: kernels/attention, for what cuDNN does not take.
#include <algorithm>
#include <limits>

#include "backend/cuda/launch/launches.h"
#include "backend/cuda/ops/kernels.h"
#include "kernels/attention/attention.h"
#include "kernels/scalar/philox.h"
#include "ops/common/attention.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using kernels::AttentionParams;
using kernels::kAttentionBlock;
using ops::AttentionAttr;

constexpr int kFirst = 0, kFirstOfGrad = 3;  // which operand q is

int FirstOf(const NodeDesc& d) { return d.op == &ops::kAttention ? kFirst : kFirstOfGrad; }

int64_t Blocks(int64_t length) { return (length + kAttentionBlock - 1) / kAttentionBlock; }

Support Supports(const NodeDesc& d) {
  const int first = FirstOf(d);
  const MemDesc &q = d.inputs[first], &k = d.inputs[first + 1], &v = d.inputs[first + 2];
  if (q.dtype == DType::kFloat64) return Support::No("is not for float64");
  if (q.sizes[3] > kernels::kMostHeadDim || v.sizes[3] > kernels::kMostHeadDim) {
    return Support::No("a head_dim of more than ", kernels::kMostHeadDim);
  }
  if (q.numel() == 0 || k.numel() == 0 || v.numel() == 0) return Support::No("empty operands");
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  const int64_t lines = q.sizes[0] * q.sizes[2];
  if (q.sizes[1] > kMost / 2 || k.sizes[1] > kMost / 2 ||
      lines * (Blocks(q.sizes[1]) + Blocks(k.sizes[1])) > kMost) {
    return Support::No("more than 2^31 blocks of rows");
  }
  return NeedsDense(d);
}

using Launch = Launches::Adding<AttentionParams>;

AttentionParams ParamsOf(const NodeDesc& d, const ops::AttentionOperands& at) {
  const int first = FirstOf(d);
  const MemDesc &q = d.inputs[first], &k = d.inputs[first + 1], &v = d.inputs[first + 2];
  AttentionParams p;
  p.length_q = static_cast<int32_t>(q.sizes[1]);
  p.heads = static_cast<int32_t>(q.sizes[2]);
  p.dim = static_cast<int32_t>(q.sizes[3]);
  p.length_kv = static_cast<int32_t>(k.sizes[1]);
  p.kv_heads = static_cast<int32_t>(k.sizes[2]);
  p.dim_v = static_cast<int32_t>(v.sizes[3]);
  p.scale = static_cast<float>(ops::ScaleOf(d.attrs, p.dim));
  p.causal = d.attr<bool>(AttentionAttr::kCausal) ? 1 : 0;
  if (at.mask >= 0) {
    const MemDesc& mask = d.inputs[at.mask];
    p.added = mask.dtype == DType::kBool ? 0 : 1;
    p.mask_batch = mask.sizes[0] == 1 ? 0 : mask.strides[0];
    p.mask_head = mask.sizes[1] == 1 ? 0 : mask.strides[1];
    p.mask_row = mask.sizes[2] == 1 ? 0 : mask.strides[2];
  }
  if (at.lengths >= 0) p.wide_lengths = d.inputs[at.lengths].dtype == DType::kInt64 ? 1 : 0;
  const double kept = 1 - d.attr<double>(AttentionAttr::kDropout);
  p.limit = kernels::WordLimit(kept);
  p.keep = static_cast<float>(1 / kept);
  p.stream = kernels::MixStream(static_cast<uint64_t>(d.attr<int64_t>(AttentionAttr::kStream)));
  return p;
}

Launch Add(Launches* state, const NodeDesc& d, const ops::AttentionOperands& at,
           const AttentionParams& p, std::string file, std::string_view name, int64_t blocks,
           bool backward) {
  const int first = FirstOf(d);
  LaunchShape shape;
  shape.grid[0] = static_cast<unsigned>(blocks);
  shape.block = kernels::kAttentionWarps * 32;
  shape.shared_bytes =
      static_cast<unsigned>(kernels::AttentionShared(p.dim, p.dim_v, backward)) * sizeof(float);
  const char* wide = std::max(p.dim, p.dim_v) <= 128 ? "128_" : "256_";
  Launch launch =
      state->Add(std::move(file), StrCat(name, wide, Suffix(d.inputs[first].dtype)), shape, p);
  launch.Point(&AttentionParams::q, {first, 0})
      .Point(&AttentionParams::k, {first + 1, 0})
      .Point(&AttentionParams::v, {first + 2, 0});
  if (at.mask >= 0) launch.Point(&AttentionParams::mask, {at.mask, 0});
  if (at.lengths >= 0) launch.Point(&AttentionParams::lengths, {at.lengths, 0});
  if (at.key >= 0) {
    launch.Point(&AttentionParams::key, {at.key, 0})
        .Point(&AttentionParams::first_row, {at.offset, 0});
  }
  return launch;
}

std::unique_ptr<KernelState> PrepareForward(const NodeDesc& d) {
  const ops::AttentionOperands at = ops::OperandsOf(d.attrs, kFirst + 3, false);
  const AttentionParams p = ParamsOf(d, at);
  auto state = std::make_unique<Launches>();
  const int out = static_cast<int>(d.inputs.size());
  Add(state.get(), d, at, p, "attention/forward", "attention_",
      d.inputs[0].sizes[0] * p.heads * Blocks(p.length_q), false)
      .Point(&AttentionParams::y, {out, 0})
      .Point(&AttentionParams::lse, {out + 1, 0});
  return state;
}

std::unique_ptr<KernelState> PrepareBackward(const NodeDesc& d) {
  const ops::AttentionOperands at = ops::OperandsOf(d.attrs, kFirstOfGrad + 3, true);
  const AttentionParams p = ParamsOf(d, at);
  auto state = std::make_unique<Launches>();
  const int out = static_cast<int>(d.inputs.size());
  const Place delta{out + 3, 0};
  const int64_t batch = d.inputs[kFirstOfGrad].sizes[0];
  state->workspace_bytes = batch * p.heads * p.length_q * static_cast<int64_t>(sizeof(float));
  Launch queries = Add(state.get(), d, at, p, "attention/backward", "attention_grad_q_",
                       batch * p.heads * Blocks(p.length_q), true);
  queries.Point(&AttentionParams::g, {0, 0})
      .Point(&AttentionParams::y, {1, 0})
      .Point(&AttentionParams::lse, {2, 0})
      .Point(&AttentionParams::delta, delta)
      .Point(&AttentionParams::dq, {out, 0});
  if (at.lse_grad >= 0) queries.Point(&AttentionParams::lse_grad, {at.lse_grad, 0});
  Add(state.get(), d, at, p, "attention/backward", "attention_grad_kv_",
      batch * p.kv_heads * Blocks(p.length_kv), true)
      .Point(&AttentionParams::g, {0, 0})
      .Point(&AttentionParams::lse, {2, 0})
      .Point(&AttentionParams::delta, delta)
      .Point(&AttentionParams::dk, {out + 1, 0})
      .Point(&AttentionParams::dv, {out + 2, 0});
  return state;
}

constexpr KernelDef Own(const OpDef& op, std::unique_ptr<KernelState> (*prepare)(const NodeDesc&)) {
  return {.op = &op,
          .impl = "tiles",
          .supports = Supports,
          .prepare = prepare,
          .launch = RunMany,
          .bind = BindMany};
}

constexpr KernelDef kKernels[] = {Own(ops::kAttention, PrepareForward),
                                  Own(ops::kAttentionGrad, PrepareBackward)};

}  // namespace

std::span<const KernelDef> AttentionKernels() { return kKernels; }

}  // namespace ostria::cuda
