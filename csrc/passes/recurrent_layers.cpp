// SPDX-License-Identifier: Apache-2.0
// recurrent_layers: lstm and gru, with the gradients that read what they saved, become calls of a
// library where the device has one that takes all of them.
//   y, h', c', g, s = lstm(x, w, r, b, h, c); lstm_grad(dy, …, y, g, s)
//     =>  y, saved, h', c' = recurrent_layer(x, w, r, b, h, c); recurrent_layer_grad(dy, …, saved)
#include <optional>
#include <vector>

#include "ir/builder.h"
#include "ops/common/attr_index.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

// Positions of operands and results.
struct Cell {
  const char* name;
  const OpDef *op, *grad;
  int states;     // h, and lstm's c
  int kept;       // results that only the gradient reads
  int grad_size;  // operands of the gradient without lengths
};
const Cell kCells[] = {{"lstm", &ops::kLstm, &ops::kLstmGrad, 2, 2, 11},
                       {"gru", &ops::kGru, &ops::kGruGrad, 1, 1, 8}};
constexpr int kFirstState = 4;  // x, kernel, recurrent_kernel and bias come first

// What the gradient is given, one after the other: dy, dlast…, x, kernel, recurrent_kernel,
// states…, y, kept….
struct GradOperands {
  explicit GradOperands(const Cell& cell)
      : x(1 + cell.states), state(x + 3), y(state + cell.states), kept(y + 1) {}
  int x, state, y, kept;
};

bool IsPlain(const Graph& g, NodeId n, int operands) {
  return g.num_operands(n) == operands && !g.attr<bool>(n, ops::RecurrentAttr::kReverse);
}

bool IsGradOf(const Graph& g, NodeId m, NodeId n, const Cell& cell) {
  if (!g.is(m, *cell.grad) || !IsPlain(g, m, cell.grad_size)) return false;
  const GradOperands at(cell);
  for (int i = 0; i < 3; ++i) {
    if (g.operand(m, at.x + i) != g.operand(n, i)) return false;
  }
  for (int i = 0; i < cell.states; ++i) {
    if (g.operand(m, at.state + i) != g.operand(n, kFirstState + i)) return false;
  }
  if (g.operand(m, at.y) != g.result(n, 0)) return false;
  for (int i = 0; i < cell.kept; ++i) {
    if (g.operand(m, at.kept + i) != g.result(n, 1 + cell.states + i)) return false;
  }
  return true;
}

// The gradients that read what `n` keeps; nothing where anybody else does.
std::optional<std::vector<NodeId>> GradsOf(const Graph& g, NodeId n, const Cell& cell) {
  std::vector<NodeId> grads;
  for (const Use& use : g.uses(g.result(n, 1 + cell.states))) {
    if (IsGradOf(g, use.user, n, cell)) grads.push_back(use.user);
  }
  for (int i = 0; i < cell.kept; ++i) {
    const Value v = g.result(n, 1 + cell.states + i);
    if (g.is_output(v) || g.num_uses(v) != static_cast<int>(grads.size())) return std::nullopt;
  }
  return grads;
}

// dy, x, kernel, recurrent_kernel, bias, y, saved, then for each state its last gradient and it.
std::vector<Value> LayerGradOperands(const Graph& g, NodeId m, const Cell& cell, Value bias,
                                     Value y, Value saved) {
  const GradOperands at(cell);
  std::vector<Value> out = {g.operand(m, 0)};
  for (int i = 0; i < 3; ++i) out.push_back(g.operand(m, at.x + i));
  out.insert(out.end(), {bias, y, saved});
  for (int i = 0; i < cell.states; ++i) {
    out.push_back(g.operand(m, 1 + i));
    out.push_back(g.operand(m, at.state + i));
  }
  return out;
}

std::vector<ValueType> TypesOf(const Graph& g, std::span<const Value> values) {
  std::vector<ValueType> types;
  for (const Value v : values) types.push_back(g.type(v));
  return types;
}

bool Rewrite(Graph& g, NodeId n, const Cell& cell, const PassContext& context) {
  if (!IsPlain(g, n, kFirstState + cell.states)) return false;
  const std::optional<std::vector<NodeId>> grads = GradsOf(g, n, cell);
  if (!grads) return false;
  const Attr name = std::string(cell.name);
  const std::vector<Value> operands = g.operands(n);
  const std::span<const Attr> attrs(&name, 1);
  const std::vector<ValueType> inputs = TypesOf(g, operands);
  if (!context.has_kernel(ops::kRecurrentLayer, attrs, inputs)) return false;
  std::vector<ValueType> results;
  InferTypes(ops::kRecurrentLayer, inputs, attrs, &results);
  const Value bias = operands[3];
  if (!grads->empty()) {
    const NodeId m = grads->front();
    // `saved` is of no graph yet; its type is known.
    std::vector<Value> given = LayerGradOperands(g, m, cell, bias, g.result(n, 0), bias);
    std::vector<ValueType> types = TypesOf(g, given);
    types[6] = results[1];
    if (!context.has_kernel(ops::kRecurrentLayerGrad, attrs, types)) return false;
  }
  Builder b(g, g.location(n), n);
  const std::vector<Value> out = b.Multi(ops::kRecurrentLayer, operands, {name});
  for (const NodeId m : *grads) {
    Builder at(g, g.location(m), m);
    const std::vector<Value> given = LayerGradOperands(g, m, cell, bias, out[0], out[1]);
    const std::vector<Value> d = at.Multi(ops::kRecurrentLayerGrad, given, {name});
    for (int i = 0; i < g.num_results(m); ++i) {
      g.ReplaceAllUses(g.result(m, i), d[static_cast<size_t>(i)]);
    }
    g.Erase(m);
  }
  g.ReplaceAllUses(g.result(n, 0), out[0]);
  for (int i = 0; i < cell.states; ++i) {
    g.ReplaceAllUses(g.result(n, 1 + i), out[static_cast<size_t>(2 + i)]);
  }
  g.Erase(n);
  return true;
}

}  // namespace

bool RecurrentLayers(Graph& graph, const PassContext& context) {
  if (!context.has_kernel) return false;
  std::vector<NodeId> found;
  for (NodeId n = graph.first(); n.valid(); n = graph.next(n)) {
    for (const Cell& cell : kCells) {
      if (graph.is(n, *cell.op)) found.push_back(n);
    }
  }
  bool changed = false;
  for (const NodeId n : found) {
    for (const Cell& cell : kCells) {
      if (graph.is(n, *cell.op) && Rewrite(graph, n, cell, context)) {
        changed = true;
        break;
      }
    }
  }
  return changed;
}

}  // namespace ostria
