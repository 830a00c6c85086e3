// SPDX-License-Identifier: Apache-2.0
// trim_loops: a loop computes and carries what somebody reads.
//   scan(...)        =>  without unread ys, carries that only feed themselves, unread captures, xs
//   while_loop(...)  =>  without carries that feed neither the condition nor a result, and so on
#include <algorithm>

#include "ops/common/control.h"
#include "passes/loop_body.h"
#include "passes/loops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

// Inputs of the bodies that somebody reads, and outputs of the last body that are read after the
// loop or feed something that is.
struct Live {
  std::vector<bool> inputs, outputs;
};

// Marks the inputs that a body reads for those of its outputs.
void MarkRead(const Graph& body, const std::vector<bool>& outputs, std::vector<bool>* inputs) {
  std::vector<bool> needed(static_cast<size_t>(body.value_capacity()));
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i]) needed[body.outputs()[i].id] = true;
  }
  for (NodeId m = body.last(); m.valid(); m = body.previous(m)) {
    bool wanted = body.op(m).traits.ordered || !body.op(m).traits.pure;
    for (int i = 0; i < body.num_results(m); ++i) wanted |= needed[body.result(m, i).id];
    for (int i = 0; wanted && i < body.num_operands(m); ++i) needed[body.operand(m, i).id] = true;
  }
  for (size_t i = 0; i < inputs->size(); ++i) {
    if (needed[body.inputs()[i].id]) (*inputs)[i] = true;
  }
}

Live FindLive(const Graph& g, NodeId n, const Loop& loop) {
  const size_t last = loop.body_attrs.size() - 1;
  const Graph& body = *loop.body(g, n, last);
  Live live{std::vector<bool>(body.inputs().size()), std::vector<bool>(body.outputs().size())};
  for (int i = 0; i < loop.carries + loop.ys; ++i) live.outputs[i] = IsUsed(g, g.result(n, i));
  for (size_t k = 0; k < last; ++k) MarkRead(*loop.body(g, n, k), {true}, &live.inputs);
  for (bool grew = true; grew;) {
    grew = false;
    MarkRead(body, live.outputs, &live.inputs);
    for (int k = 0; k < loop.carries; ++k) {
      if (live.inputs[loop.captures + k] && !live.outputs[k]) live.outputs[k] = grew = true;
    }
  }
  return live;
}

// The body with those inputs and outputs alone.
Body Trimmed(const Graph& body, const std::vector<bool>& inputs, const std::vector<bool>& outputs) {
  return std::make_shared<Graph>(KeepInputs(*ops::KeepOutputs(body, outputs), inputs));
}

bool Trim(Graph& g, NodeId n, const Loop& loop) {
  Live live = FindLive(g, n, loop);
  for (int k = 0; k < loop.carries; ++k) live.inputs[loop.captures + k] = live.outputs[k];
  live.inputs.back() = true;  // the step
  const auto dead = [](const std::vector<bool>& v) {
    return std::count(v.begin(), v.end(), false);
  };
  if (dead(live.inputs) + dead(live.outputs) == 0) return false;
  if (std::count(live.outputs.begin(), live.outputs.end(), true) == 0) return false;  // dce's
  std::vector<Body> bodies;
  for (size_t k = 0; k + 1 < loop.body_attrs.size(); ++k) {
    bodies.push_back(Trimmed(*loop.body(g, n, k), live.inputs, {true}));
  }
  bodies.push_back(Trimmed(*loop.body(g, n, bodies.size()), live.inputs, live.outputs));
  Loop smaller = loop;
  smaller.captures = smaller.carries = 0;
  std::vector<Value> operands;
  for (int i = 0; i < loop.operands(); ++i) {
    if (!live.inputs[i]) continue;
    operands.push_back(g.operand(n, i));
    smaller.captures += i < loop.captures;
    smaller.carries += i >= loop.captures && i < loop.first_x();
  }
  const NodeId m = AddLoopLike(g, n, smaller, operands, bodies);
  int next = 0;
  for (int i = 0; i < loop.carries + loop.ys; ++i) {
    if (live.outputs[i]) g.ReplaceAllUses(g.result(n, i), g.result(m, next++));
  }
  g.Erase(n);
  return true;
}

}  // namespace

bool TrimLoops(Graph& graph, const PassContext&) {
  bool changed = false;
  for (NodeId n = graph.first(); n.valid();) {
    const NodeId next = graph.next(n);
    if (const auto loop = LoopOf(graph, n)) changed |= Trim(graph, n, *loop);
    n = next;
  }
  return changed;
}

}  // namespace ostria
