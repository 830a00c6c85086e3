// SPDX-License-Identifier: Apache-2.0
// The order of passes: everything a specialised graph goes through before it is planned.
#pragma once

#include "passes/pass.h"

namespace ostria {

/// Rewrites `graph` and its bodies in place. Outputs may come out as inputs, state or constants.
void Optimise(Graph& graph, const PassContext& context = {});

}  // namespace ostria
