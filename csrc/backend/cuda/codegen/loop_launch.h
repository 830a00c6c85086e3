// SPDX-License-Identifier: Apache-2.0
// Nodes that run generated kernels: what prepare, bind and launch of their KernelDefs are made of.
#pragma once

#include <memory>
#include <string>

#include "backend/cuda/codegen/codegen.h"
#include "backend/kernel.h"

namespace ostria::cuda {

/// What prepare returns for a node whose operands are the program's, in order. `what` is shown by
/// explain(), with the form.
std::unique_ptr<KernelState> PlanLoop(const NodeDesc& node, const std::string& what,
                                      std::shared_ptr<const GeneratedLoop> loop);

/// KernelDef::bind and launch of such a node.
std::unique_ptr<KernelState> BindLoop(const std::shared_ptr<const KernelState>& state,
                                      const BindContext& to);
void RunLoop(const KernelState& state, void* const* ptrs);

}  // namespace ostria::cuda
