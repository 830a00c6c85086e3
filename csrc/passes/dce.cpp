// SPDX-License-Identifier: Apache-2.0
// dce: removes nodes whose results nobody uses. Ordered and impure nodes stay: they have effects.
#include "ops/common/control.h"
#include "passes/pass.h"

namespace ostria {

bool EliminateDeadCode(Graph& graph, const PassContext&) { return ops::DropDead(graph); }

}  // namespace ostria
