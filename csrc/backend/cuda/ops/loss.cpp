// SPDX-License-Identifier: Apache-2.0
// Cross-entropy from logits and class numbers, with the gradient or without.
#include "backend/cuda/launch/launch.h"
#include "backend/cuda/ops/kernels.h"
#include "kernels/loss/softmax_cross_entropy.h"
#include "ops/common/classes.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using kernels::SoftmaxCrossEntropyParams;

template <bool gradient>
std::unique_ptr<KernelState> Prepare(const NodeDesc& node) {
  const MemDesc& x = node.inputs[0];
  auto state = std::make_unique<OneLaunch<SoftmaxCrossEntropyParams>>();
  SoftmaxCrossEntropyParams& p = state->params;
  p.cols = p.stride = x.sizes[x.rank - 1];
  if (const auto classes = node.attr<int64_t>(ops::kClassesAttr); classes >= 0) p.cols = classes;
  p.rows = node.inputs[1].numel();
  p.wide_labels = node.inputs[1].dtype == DType::kInt64 ? 1 : 0;
  const bool by_warp = p.cols <= kernels::kCrossEntropyWarpCols;
  state->file = "loss/softmax_cross_entropy";
  state->function = StrCat("softmax_cross_entropy_", by_warp ? "warp_" : "block_", Suffix(x.dtype));
  p.wide_rows = node.outputs.back().dtype != x.dtype ? 1 : 0;
  state->shape.block = p.cols >= kernels::kCrossEntropyLongCols ? kernels::kCrossEntropyMostThreads
                                                                : kernels::kCrossEntropyThreads;
  const unsigned rows_per_block = by_warp ? kernels::kCrossEntropyThreads / 32 : 1;
  state->shape.grid[0] = GridFor(p.rows, 1, rows_per_block, *node.device);
  state->point = [](SoftmaxCrossEntropyParams* p, void* const* ptrs) {
    p->logits = ptrs[0];
    p->labels = ptrs[1];
    if constexpr (gradient) {
      p->g = ptrs[2];
      p->dlogits = ptrs[3];
      p->loss = ptrs[4];
    } else {
      p->loss = ptrs[2];
    }
  };
  return state;
}

bool AliasLogits(const NodeDesc&, int out, int in) { return out == 0 && in == 0; }

constexpr KernelDef kKernels[] = {
    {.op = &ops::kSparseSoftmaxCrossEntropy,
     .impl = "rows",
     .supports = NeedsDense,
     .prepare = Prepare<false>,
     .launch = RunOne<SoftmaxCrossEntropyParams>,
     .bind = BindOne<SoftmaxCrossEntropyParams>},
    {.op = &ops::kSparseSoftmaxCrossEntropyGrad,
     .impl = "rows",
     .supports = NeedsDense,
     .prepare = Prepare<true>,
     .launch = RunOne<SoftmaxCrossEntropyParams>,
     .alias_ok = AliasLogits,
     .optional_outputs = 0b10,
     .bind = BindOne<SoftmaxCrossEntropyParams>},
};

}  // namespace

std::span<const KernelDef> LossKernels() { return kKernels; }

}  // namespace ostria::cuda
