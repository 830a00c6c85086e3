// SPDX-License-Identifier: Apache-2.0
// Attention and its gradient by cuDNN.
#include "backend/cuda/cudnn/run.h"
#include "backend/cuda/ops/kernels.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

constexpr KernelDef kKernels[] = {
    CudnnKernel<DescribeAttention>(&ops::kAttention),
    CudnnKernel<DescribeAttentionGrad>(&ops::kAttentionGrad),
    CudnnKernel<DescribeAttentionPacked>(&ops::kAttentionPacked),
    CudnnKernel<DescribeAttentionPackedGrad>(&ops::kAttentionPackedGrad),
};

}  // namespace

std::span<const KernelDef> CudnnAttentionKernels() { return kKernels; }

}  // namespace ostria::cuda
