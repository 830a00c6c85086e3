// SPDX-License-Identifier: Apache-2.0
// Attention and its gradient by cuDNN. Where sequences have lengths, its result for those without
// any key is no number or an average; a kernel of ours makes it the zeros that the op promises.
#include <algorithm>

#include "backend/cuda/cudnn_run.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"
#include "kernels/attention/empty_rows.h"
#include "ops/common/attention.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using kernels::EmptyRowsParams;
using ops::AttentionAttr;

bool HasLengths(const NodeDesc& node) { return node.attr<bool>(AttentionAttr::kLengths); }

Support Supports(const NodeDesc& node) {
  if (HasLengths(node)) return Support::No("a sequence of length 0 would not give zeros");
  return SupportsCudnn(node, DescribeAttention(node));
}

Support SupportsLengths(const NodeDesc& node) {
  if (!HasLengths(node)) return Support::No("is for sequences with lengths");
  return SupportsCudnn(node, DescribeAttention(node));
}

struct LengthsState final : KernelState {
  std::shared_ptr<const KernelState> attention, zeros;
};
struct BoundLengths final : KernelState {
  std::unique_ptr<KernelState> attention, zeros;
};

std::unique_ptr<KernelState> PrepareLengths(const NodeDesc& node) {
  const MemDesc &y = node.outputs[0], &lse = node.outputs[1];
  auto zeros = std::make_unique<OneLaunch<EmptyRowsParams>>();
  zeros->file = "attention/empty_rows";
  zeros->function = "attention_empty_rows";
  zeros->params.batch = y.sizes[0];
  zeros->params.y_each = y.bytes() / 2 / y.sizes[0];
  zeros->params.lse_each = lse.numel() / y.sizes[0];
  zeros->shape.grid[0] = static_cast<unsigned>(std::min<int64_t>(y.sizes[0], 1024));
  zeros->point = [](EmptyRowsParams* p, void* const* ptrs) {  // q, k, v, lengths, y, lse
    p->lengths = static_cast<const int32_t*>(ptrs[3]);
    p->y = static_cast<uint16_t*>(ptrs[4]);
    p->lse = static_cast<float*>(ptrs[5]);
  };
  auto state = std::make_unique<LengthsState>();
  state->attention = PrepareCudnn(node, DescribeAttention(node));
  state->zeros = std::move(zeros);
  state->workspace_bytes = state->attention->workspace_bytes;
  state->detail = state->attention->detail;
  return state;
}

std::unique_ptr<KernelState> BindLengths(const std::shared_ptr<const KernelState>& state,
                                         const BindContext& to) {
  const auto& s = static_cast<const LengthsState&>(*state);
  auto bound = std::make_unique<BoundLengths>();
  bound->attention = BindCudnn(s.attention, to);
  bound->zeros = BindOne<EmptyRowsParams>(s.zeros, to);
  return bound;
}

void LaunchLengths(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const BoundLengths&>(state);
  LaunchCudnn(*s.attention, ptrs);
  RunOne<EmptyRowsParams>(*s.zeros, ptrs);
}

constexpr KernelDef WithoutLengths() {
  KernelDef def = CudnnKernel<DescribeAttention>(&ops::kAttention);
  def.supports = Supports;
  return def;
}

constexpr KernelDef kKernels[] = {
    WithoutLengths(),
    {.op = &ops::kAttention,
     .impl = "cudnn_lengths",
     .supports = SupportsLengths,
     .prepare = PrepareLengths,
     .launch = LaunchLengths,
     .bind = BindLengths},
    CudnnKernel<DescribeAttentionGrad>(&ops::kAttentionGrad),
};

}  // namespace

std::span<const KernelDef> CudnnAttentionKernels() { return kKernels; }

}  // namespace ostria::cuda
