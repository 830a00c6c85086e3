// SPDX-License-Identifier: Apache-2.0
// Nodes that are one graph of cuDNN's: a KernelDef needs a function that describes the node, and
// takes the rest from here.
#pragma once

#include <memory>

#include "backend/cuda/cudnn/nodes.h"

namespace ostria::cuda {

Support SupportsCudnn(const NodeDesc& node, const CudnnNode& described);
std::unique_ptr<KernelState> PrepareCudnn(const NodeDesc& node, CudnnNode described);
/// KernelDef::bind and KernelDef::launch.
std::unique_ptr<KernelState> BindCudnn(const std::shared_ptr<const KernelState>& state,
                                       const BindContext& to);
void LaunchCudnn(const KernelState& state, void* const* ptrs);

/// An implementation whose nodes `describe` puts into cuDNN's words.
template <CudnnNode (*describe)(const NodeDesc&)>
constexpr KernelDef CudnnKernel(const OpDef* op) {
  return {.op = op,
          .impl = "cudnn",
          .supports = [](const NodeDesc& node) { return SupportsCudnn(node, describe(node)); },
          .prepare = [](const NodeDesc& node) { return PrepareCudnn(node, describe(node)); },
          .launch = LaunchCudnn,
          .bind = BindCudnn};
}

}  // namespace ostria::cuda
