// SPDX-License-Identifier: Apache-2.0
// The CPU's implementations, one ordered list per family of ops; cpu_backend.cpp strings them
// together. Within an op the first that supports a node wins, so the order inside a list is the
// preference.
#pragma once

#include <span>

#include "backend/kernel.h"

namespace ostria::cpu {

std::span<const KernelDef> LoopKernels();
std::span<const KernelDef> ReduceKernels();
std::span<const KernelDef> ShapeKernels();
std::span<const KernelDef> DataKernels();
std::span<const KernelDef> GatherKernels();
std::span<const KernelDef> AlongAxisKernels();
std::span<const KernelDef> ScanKernels();
std::span<const KernelDef> SortKernels();
std::span<const KernelDef> LinalgKernels();
std::span<const KernelDef> ConvKernels();
std::span<const KernelDef> PoolingKernels();
std::span<const KernelDef> NnKernels();
std::span<const KernelDef> NormKernels();
std::span<const KernelDef> ResampleKernels();
std::span<const KernelDef> AttentionKernels();
std::span<const KernelDef> RecurrentOpKernels();
std::span<const KernelDef> CtcKernels();
std::span<const KernelDef> RandomKernels();
std::span<const KernelDef> OptimKernels();
std::span<const KernelDef> RowKernels();
std::span<const KernelDef> CollectiveKernels();

/// supports() of implementations that only need dense operands.
inline Support NeedsDense(const NodeDesc& d) {
  for (const MemDesc& m : d.inputs) {
    if (!m.is_dense()) return Support::No("an input is not dense");
  }
  for (const MemDesc& m : d.outputs) {
    if (!m.is_dense()) return Support::No("an output is not dense");
  }
  return Support::Yes();
}

}  // namespace ostria::cpu
