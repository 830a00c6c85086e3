// SPDX-License-Identifier: Apache-2.0
#include "runtime/schedule.h"

#include <algorithm>
#include <map>

#include "passes/match.h"

namespace ostria {
namespace {

Value ViewedBy(const Graph& g, Value v) {
  for (NodeId n = g.producer(v); n.valid() && SharesMemory(g, n); n = g.producer(v)) {
    v = g.operand(n, 0);
  }
  return v;
}

// Whether both kernels want the same bytes of what they pack.
bool PackAlike(const Graph& g, const std::vector<Choice>& choices, NodeId a, NodeId b) {
  if (choices[a.id].kernel != choices[b.id].kernel || g.num_operands(a) != g.num_operands(b)) {
    return false;
  }
  for (int i = 0; i < g.num_operands(a); ++i) {
    if (g.type(g.operand(a, i)) != g.type(g.operand(b, i))) return false;
  }
  const auto of_a = g.attrs(a), of_b = g.attrs(b);
  return std::equal(of_a.begin(), of_a.end(), of_b.begin(), of_b.end(), SameAttr);
}

}  // namespace

Schedule MakeSchedule(const Graph& g, const std::vector<Choice>& choices) {
  Origins origins(g);
  std::map<int32_t, std::vector<NodeId>> packs;  // what is packed -> nodes that want it
  std::vector<bool> kept(static_cast<size_t>(g.node_capacity()));
  std::vector<NodeId> order;
  Schedule out;
  out.packed_by.resize(static_cast<size_t>(g.node_capacity()));
  for (NodeId n = g.first(); n.valid(); n = g.next(n)) {
    origins.Add(n);
    const Choice& choice = choices[n.id];
    if (choice.kernel == nullptr) continue;
    order.push_back(n);
    kept[n.id] = origins.Of(n) == Origin::kState;
    const int packed = choice.state->packed_input;
    if (packed < 0) continue;
    std::vector<NodeId>& nodes = packs[ViewedBy(g, g.operand(n, packed)).id];
    const auto same = std::find_if(nodes.begin(), nodes.end(),
                                   [&](NodeId other) { return PackAlike(g, choices, n, other); });
    out.packed_by[n.id] = same == nodes.end() ? n : *same;
    if (same == nodes.end()) nodes.push_back(n);
  }
  // What they read must have been computed by then too, if only from constants.
  for (size_t i = order.size(); i-- > 0;) {
    const NodeId n = order[i];
    for (int k = 0; k < g.num_results(n); ++k)
      kept[n.id] = kept[n.id] || packs.contains(g.result(n, k).id);
    for (int k = 0; kept[n.id] && k < g.num_operands(n); ++k) {
      const NodeId source = g.producer(ViewedBy(g, g.operand(n, k)));
      if (source.valid()) kept[source.id] = true;
    }
  }
  const auto pack = [&](Value v) {
    const auto it = packs.find(v.id);
    if (it == packs.end()) return;
    for (NodeId n : it->second) out.steps.push_back({n, true});
    packs.erase(it);
  };
  for (NodeId n : order) {
    if (!kept[n.id]) continue;
    out.steps.push_back({n});
    // At once, so that the plain form need not live on.
    for (int k = 0; k < g.num_results(n); ++k) pack(g.result(n, k));
  }
  for (const auto& [value, nodes] : packs) {  // state and constants
    for (NodeId n : nodes) out.steps.push_back({n, true});
  }
  out.num_kept = static_cast<int32_t>(out.steps.size());
  for (NodeId n : order) {
    if (!kept[n.id]) out.steps.push_back({n});
  }
  return out;
}

}  // namespace ostria
