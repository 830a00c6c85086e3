// SPDX-License-Identifier: Apache-2.0
// The lists of implementations, one per file kernels_*.cpp, in the order that cuda_backend.cpp puts
// them; and what several of them need.
#pragma once

#include <span>

#include "backend/kernel.h"

namespace ostria::cuda {

std::span<const KernelDef> FillKernels();
std::span<const KernelDef> OptimKernels();
std::span<const KernelDef> ShapeKernels();
std::span<const KernelDef> PadChannelsKernels();
std::span<const KernelDef> RandomKernels();
std::span<const KernelDef> SortKernels();
std::span<const KernelDef> PoolKernels();
std::span<const KernelDef> DepthwiseKernels();
std::span<const KernelDef> DirectConvKernels();
std::span<const KernelDef> AttentionKernels();
std::span<const KernelDef> CtcKernels();
std::span<const KernelDef> ResampleKernels();
std::span<const KernelDef> LoopKernels();
std::span<const KernelDef> SkinnyKernels();
std::span<const KernelDef> LinalgKernels();
std::span<const KernelDef> ConvKernels();
std::span<const KernelDef> ConvNormKernels();
std::span<const KernelDef> LossKernels();
std::span<const KernelDef> ListKernels();
std::span<const KernelDef> ScanKernels();
std::span<const KernelDef> CudnnAttentionKernels();
std::span<const KernelDef> GatherKernels();
std::span<const KernelDef> RowKernels();
std::span<const KernelDef> ChannelNormKernels();
std::span<const KernelDef> OptimNormKernels();
std::span<const KernelDef> DataKernels();
std::span<const KernelDef> AlongAxisKernels();
std::span<const KernelDef> ReduceKernels();
std::span<const KernelDef> RecurrentKernels();
std::span<const KernelDef> ControlKernels();
std::span<const KernelDef> RecurrentStepKernels();
std::span<const KernelDef> CollectiveKernels();

/// What names of kernels end in: f16, bf16, f32, f64.
std::string_view Suffix(DType dtype);
/// No, with the reason, unless every operand is dense.
Support NeedsDense(const NodeDesc& node);

}  // namespace ostria::cuda
