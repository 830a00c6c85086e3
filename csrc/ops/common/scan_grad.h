// SPDX-License-Identifier: Apache-2.0
// The gradient of a scan is a scan in the other direction.
#pragma once

#include "ir/grad_context.h"

namespace ostria::ops {

void ScanGrad(GradContext& c);

/// Whether the backward body computes this node of the forward body again instead of reading what
/// the forward scan stacked: elementwise and data-moving nodes, and draws, which repeat by design.
bool IsRecomputed(const Graph& body, NodeId n);

}  // namespace ostria::ops
