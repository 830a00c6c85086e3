// SPDX-License-Identifier: Apache-2.0
// merge_scans and trim_scans: what the gradient of a scan leaves to be tidied.
//   s = scan(c, h, xs; f), t = scan(c, h, xs; f + more ys)  =>  t alone
//   scan(...)                                              =>  without unread ys, carries that only
//                                                              feed themselves, unread captures, xs
#include <algorithm>

#include "ops/common/control.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

using ops::ScanAttr;
using ops::ScanParts;

// Whether two scans give their bodies the same: then what one body computes the other one may.
bool SameLoop(const Graph& g, NodeId a, NodeId b) {
  const ScanParts p = ops::PartsOf(g, a), q = ops::PartsOf(g, b);
  return p.captures == q.captures && p.carries == q.carries && p.length == q.length &&
         p.reverse == q.reverse && g.operands(a) == g.operands(b);
}

// A body with the outputs of `first`, then of `second` but its carries, if those are the same.
Body Merged(const Graph& first, const Graph& second, int carries, const PassContext& context) {
  auto body = std::make_shared<Graph>(first.Clone());
  const std::vector<Value> inputs(body->inputs().begin(), body->inputs().end());
  const std::vector<Value> more = Inline(*body, second, inputs, {}, LocationId{0});
  const auto count = static_cast<int>(body->outputs().size());
  for (size_t i = 0; i < more.size(); ++i) body->AddOutput(StrCat("more_", i), more[i]);
  MergeCommonSubexpressions(*body, context);
  for (int k = carries - 1; k >= 0; --k) {
    if (!(body->outputs()[k] == body->outputs()[count + k])) return nullptr;
    body->RemoveOutput(count + k);
  }
  ops::DropDead(*body);
  return body;
}

// Puts both in place of the first one, where all operands are defined.
bool Merge(Graph& g, NodeId a, NodeId b, const PassContext& context) {
  const ScanParts p = ops::PartsOf(g, a), q = ops::PartsOf(g, b);
  const Body body = Merged(*g.attr<Body>(a, ScanAttr::kBody), *g.attr<Body>(b, ScanAttr::kBody),
                           p.carries, context);
  if (body == nullptr) return false;
  std::vector<Attr> attrs(g.attrs(a).begin(), g.attrs(a).end());
  attrs[ScanAttr::kBody] = body;
  const NodeId m = g.AddNode(ops::kScan, g.operands(a), std::move(attrs), g.location(a), a);
  for (int i = 0; i < p.carries + p.ys; ++i) g.ReplaceAllUses(g.result(a, i), g.result(m, i));
  for (int i = 0; i < p.carries; ++i) g.ReplaceAllUses(g.result(b, i), g.result(m, i));
  for (int i = 0; i < q.ys; ++i) {
    g.ReplaceAllUses(g.result(b, p.carries + i), g.result(m, p.carries + p.ys + i));
  }
  g.Erase(a);
  g.Erase(b);
  return true;
}

// What a body must give: carries that are read after the loop or feed something that is.
struct Live {
  std::vector<bool> inputs, outputs;
};

Live FindLive(const Graph& g, NodeId n, const Graph& body, const ScanParts& p) {
  Live live{std::vector<bool>(body.inputs().size()), std::vector<bool>(body.outputs().size())};
  for (int i = 0; i < p.carries + p.ys; ++i) live.outputs[i] = IsUsed(g, g.result(n, i));
  for (bool grew = true; grew;) {
    grew = false;
    std::vector<bool> needed(static_cast<size_t>(body.value_capacity()));
    for (size_t i = 0; i < live.outputs.size(); ++i) {
      if (live.outputs[i]) needed[body.outputs()[i].id] = true;
    }
    for (NodeId m = body.last(); m.valid(); m = body.previous(m)) {
      bool wanted = body.op(m).traits.ordered || !body.op(m).traits.pure;
      for (int i = 0; i < body.num_results(m); ++i) wanted |= needed[body.result(m, i).id];
      for (int i = 0; wanted && i < body.num_operands(m); ++i) {
        needed[body.operand(m, i).id] = true;
      }
    }
    for (size_t i = 0; i < live.inputs.size(); ++i) live.inputs[i] = needed[body.inputs()[i].id];
    for (int k = 0; k < p.carries; ++k) {
      if (live.inputs[p.captures + k] && !live.outputs[k]) live.outputs[k] = grew = true;
    }
  }
  return live;
}

bool Trim(Graph& g, NodeId n) {
  const Body body = g.attr<Body>(n, ScanAttr::kBody);
  const ScanParts p = ops::PartsOf(g, n);
  Live live = FindLive(g, n, *body, p);
  for (int k = 0; k < p.carries; ++k) live.inputs[p.captures + k] = live.outputs[k];
  live.inputs.back() = true;  // the step
  const auto dead = [](const std::vector<bool>& v) {
    return std::count(v.begin(), v.end(), false);
  };
  if (dead(live.inputs) + dead(live.outputs) == 0) return false;
  if (std::count(live.outputs.begin(), live.outputs.end(), true) == 0) return false;  // dce's
  const Body kept = ops::KeepOutputs(*body, live.outputs);
  auto trimmed = std::make_shared<Graph>();
  std::vector<Value> arguments, operands;
  int64_t captures = 0, carries = 0;
  const Value unread = Value{};
  for (size_t i = 0; i < live.inputs.size(); ++i) {
    const Value v = kept->inputs()[i];
    if (!live.inputs[i]) {
      arguments.push_back(unread);
      continue;
    }
    arguments.push_back(
        trimmed->AddInput(kept->input_name(static_cast<int>(i)), kept->type(v), kept->location(v)));
    const auto at = static_cast<int>(i);
    if (at == p.first_x() + p.xs) break;
    operands.push_back(g.operand(n, at));
    captures += at < p.captures;
    carries += at >= p.captures && at < p.first_x();
  }
  // Inline wants a value of the right type for every input; no node reads these.
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i].valid()) continue;
    const ValueType type = kept->type(kept->inputs()[i]);
    const NodeId full = trimmed->AddNode(ops::kFull, {}, {type.shape, type.dtype, 0.0}, 0);
    arguments[i] = trimmed->result(full);
  }
  const std::vector<Value> outputs = Inline(*trimmed, *kept, arguments, {}, LocationId{0});
  for (size_t i = 0; i < outputs.size(); ++i) {
    trimmed->AddOutput(kept->output_name(static_cast<int>(i)), outputs[i]);
  }
  ops::DropDead(*trimmed);
  const NodeId m = g.AddNode(ops::kScan, operands,
                             {Body(std::move(trimmed)), captures, carries, p.length, p.reverse},
                             g.location(n), n);
  int next = 0;
  for (int i = 0; i < p.carries + p.ys; ++i) {
    if (live.outputs[i]) g.ReplaceAllUses(g.result(n, i), g.result(m, next++));
  }
  g.Erase(n);
  return true;
}

}  // namespace

bool MergeScans(Graph& graph, const PassContext& context) {
  std::vector<NodeId> scans;
  for (NodeId n = graph.first(); n.valid(); n = graph.next(n)) {
    if (graph.is(n, ops::kScan)) scans.push_back(n);
  }
  for (size_t i = 0; i < scans.size(); ++i) {
    for (size_t j = i + 1; j < scans.size(); ++j) {
      if (SameLoop(graph, scans[i], scans[j]) && Merge(graph, scans[i], scans[j], context)) {
        MergeScans(graph, context);
        return true;
      }
    }
  }
  return false;
}

bool TrimScans(Graph& graph, const PassContext&) {
  bool changed = false;
  for (NodeId n = graph.first(); n.valid();) {
    const NodeId next = graph.next(n);
    if (graph.is(n, ops::kScan)) changed |= Trim(graph, n);
    n = next;
  }
  return changed;
}

}  // namespace ostria
