// SPDX-License-Identifier: Apache-2.0
// Attention and its gradient by cuDNN. Sequences with lengths are left to the kernels of our own:
// on an H200 cuDNN 9.19's results for them differed from the op's (benchmarks/results/gpu).
#include "backend/cuda/cudnn_run.h"
#include "backend/cuda/kernels.h"
#include "ops/common/attention.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

template <CudnnNode (*describe)(const NodeDesc&)>
Support Supports(const NodeDesc& node) {
  if (node.attr<bool>(ops::AttentionAttr::kLengths)) {
    return Support::No("is not used for sequences with lengths");
  }
  return SupportsCudnn(node, describe(node));
}

template <CudnnNode (*describe)(const NodeDesc&)>
constexpr KernelDef Kernel(const OpDef* op) {
  KernelDef def = CudnnKernel<describe>(op);
  def.supports = Supports<describe>;
  return def;
}

constexpr KernelDef kKernels[] = {
    Kernel<DescribeAttention>(&ops::kAttention),
    Kernel<DescribeAttentionGrad>(&ops::kAttentionGrad),
};

}  // namespace

std::span<const KernelDef> CudnnAttentionKernels() { return kKernels; }

}  // namespace ostria::cuda
