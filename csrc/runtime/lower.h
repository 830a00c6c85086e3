// SPDX-License-Identifier: Apache-2.0
// Lowering: after it, every node of a static graph has an implementation on the device, is a view,
// a constant, or has nothing to compute. Ops without implementation are replaced by their
// decomposition.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/kernel.h"
#include "ir/graph.h"

namespace ostria {

/// What runs a node; kernel is null where nothing runs (views, constants, empty results).
struct Choice {
  const KernelDef* kernel = nullptr;
  std::shared_ptr<const KernelState> state;
};

/// Rewrites `graph` and returns the choices by node id. Throws Error(kNotImplemented) with the
/// reasons of every implementation and the user's line. `keeps`: whether operands that derive from
/// state alone may be packed once for many runs. `report`, if not null, gets a line for every op
/// that a preferred implementation refused, with the reasons, and what runs it instead.
std::vector<Choice> Lower(Graph& graph, const DeviceProps& device, bool keeps = true,
                          std::vector<std::string>* report = nullptr);

/// Implementations of `op` on the device, in order of preference.
std::span<const KernelDef* const> KernelsFor(DeviceKind device, const OpDef& op);

/// Whether the device has an implementation for a node of `op` with operands of these static types.
/// An empty operand or result needs none.
bool HasKernel(const DeviceProps& device, const OpDef& op, std::span<const Attr> attrs,
               std::span<const ValueType> inputs);

/// Dense descriptors of a node's operands (first) and results (second).
void DescribeNode(const Graph& graph, NodeId n, std::vector<MemDesc>* inputs,
                  std::vector<MemDesc>* outputs);

/// Makes every plan on this thread use implementation `impl` of `op` ("" = free choice, "decompose"
/// = the op's body in simpler ops): for tests and experiments. Unknown names are an Error that
/// lists those of `device`.
void PinKernel(const OpDef& op, std::string_view impl, DeviceKind device = DeviceKind::kCpu);

}  // namespace ostria
