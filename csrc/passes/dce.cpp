// SPDX-License-Identifier: Apache-2.0
// dce: removes nodes whose results nobody uses. Ordered and impure nodes stay: they have effects.
#include "passes/pass.h"

namespace ostria {

bool EliminateDeadCode(Graph& graph, const PassContext&) {
  std::vector<uint8_t> output(static_cast<size_t>(graph.value_capacity()), 0);
  for (const Value v : graph.outputs()) output[v.id] = 1;
  for (const StateEntry& s : graph.state()) output[s.out.id] = 1;
  bool changed = false;
  for (NodeId n = graph.last(); n.valid();) {
    const NodeId previous = graph.previous(n);
    const Traits& traits = graph.op(n).traits;
    bool dead = traits.pure && !traits.ordered;
    for (int i = 0; dead && i < graph.num_results(n); ++i) {
      dead = graph.num_uses(graph.result(n, i)) == 0 && !output[graph.result(n, i).id];
    }
    if (dead) {
      graph.Erase(n);
      changed = true;
    }
    n = previous;
  }
  return changed;
}

}  // namespace ostria
