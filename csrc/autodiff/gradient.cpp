// SPDX-License-Identifier: Apache-2.0
// One sweep over the nodes forward, to see what depends on `wrt`, and one backward, to call the
// rules.
#include "autodiff/gradient.h"

#include <unordered_map>

#include "base/check.h"
#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/ops.h"

namespace ostria {
namespace {

// What is known of a value. Values made since the sweep began lie in a vector, older ones in a map:
// a decomposed op is differentiated by a sweep of its own, whose cost must not grow with the graph.
struct Fact {
  bool active = false;  // depends on wrt through floats
  Value cotangent;
};

class Facts {
 public:
  Facts(int first, int end) : first_(first), recent_(static_cast<size_t>(end - first)) {}
  Fact& operator[](Value v) {
    return v.id >= first_ && v.id - first_ < static_cast<int>(recent_.size())
               ? recent_[v.id - first_]
               : older_[v.id];
  }

 private:
  int first_;
  std::vector<Fact> recent_;
  std::unordered_map<int32_t, Fact> older_;
};

class Sweep final {
 public:
  /// Looks at the nodes from `begin` to the graph's last one; their values have ids from
  /// `first_value`.
  Sweep(Graph& graph, NodeId begin, int first_value, LocationId location)
      : b_(graph, location),
        begin_(begin),
        end_(graph.last()),
        facts_(first_value, graph.value_capacity()) {}

  std::vector<Value> Run(std::span<const Value> outputs, std::span<const Value> cotangents,
                         std::span<const Value> wrt, std::vector<bool>* connected) {
    MarkActive(wrt);
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!facts_[outputs[i]].active) continue;
      const ValueType type = b_.type(outputs[i]);
      Accumulate(outputs[i], !cotangents.empty() && cotangents[i].valid()
                                 ? cotangents[i]
                                 : ops::Full(b_, type, 1.0));
    }
    const LocationId location = b_.location();
    for (NodeId n = end_; begin_.valid() && n.valid(); n = b_.graph().previous(n)) {
      Visit(n);
      if (n == begin_) break;
    }
    b_.set_location(location);
    std::vector<Value> out;
    for (const Value v : wrt) {
      const Value g = facts_[v].cotangent;
      if (connected != nullptr) connected->push_back(g.valid());
      out.push_back(g.valid() ? g : ops::ZerosLike(b_, v));
    }
    return out;
  }

 private:
  class Context;

  void MarkActive(std::span<const Value> wrt) {
    const Graph& g = b_.graph();
    for (const Value v : wrt) facts_[v].active = true;
    for (NodeId n = begin_; n.valid(); n = g.next(n)) {
      bool active = false;
      for (int i = 0; i < g.num_operands(n) && !active && !g.op(n).grad.zero; ++i)
        active = facts_[g.operand(n, i)].active;
      for (int i = 0; active && i < g.num_results(n); ++i) {
        const Value v = g.result(n, i);
        if (IsFloat(g.dtype(v))) facts_[v].active = true;
      }
      if (n == end_) break;
    }
  }

  void Accumulate(Value v, Value g) {
    Value& sum = facts_[v].cotangent;
    if (!sum.valid()) {
      sum = g;
    } else {
      const Value total = b_(ops::kAdd, {sum, g});
      facts_[v].cotangent = total;
    }
  }

  void Visit(NodeId n);
  void VisitDecomposed(NodeId n, Context& context);

  Builder b_;
  NodeId begin_, end_;
  Facts facts_;
};

class Sweep::Context final : public GradContext {
 public:
  Context(Sweep& sweep, NodeId node) : GradContext(sweep.b_, node), sweep_(sweep) {}

  bool Needs(int i) const override { return sweep_.facts_[input(i)].active; }
  bool HasCotangent(int i) const override { return sweep_.facts_[output(i)].cotangent.valid(); }
  Value cotangent(int i) override {
    if (!HasCotangent(i)) {
      // A fact of its own, so that the zeros are made once; the node is being visited, nobody adds
      // to it.
      const Value zeros = ops::ZerosLike(b, output(i));
      sweep_.facts_[output(i)].cotangent = zeros;
    }
    return sweep_.facts_[output(i)].cotangent;
  }
  void Set(int i, Value g) override {
    if (!Needs(i)) return;
    OSTRIA_CHECK(b.type(g) == b.type(input(i)), "the gradient of ", b.graph().op(node()).name,
                 " gives ", b.type(g), " for input ", i, " of type ", b.type(input(i)));
    sweep_.Accumulate(input(i), g);
  }
  Body DifferentiateBody(const Graph& body) override { return ostria::DifferentiateBody(body); }
  void ThroughDecomposition() override { sweep_.VisitDecomposed(node(), *this); }

 private:
  Sweep& sweep_;
};

void Sweep::Visit(NodeId n) {
  Graph& g = b_.graph();
  bool reached = false, wanted = false;
  for (int i = 0; i < g.num_results(n); ++i) reached |= facts_[g.result(n, i)].cotangent.valid();
  for (int i = 0; reached && i < g.num_operands(n); ++i) wanted |= facts_[g.operand(n, i)].active;
  if (!wanted) return;
  const OpDef& op = g.op(n);
  b_.set_location(Derive(g.location(n), StrCat("gradient of ", op.name)));
  Context context(*this, n);
  if (op.grad.fn != nullptr) {
    op.grad.fn(context);
  } else if (op.decompose != nullptr) {
    VisitDecomposed(n, context);
  } else {
    throw Error(ErrorCode::kNotImplemented, std::string(op.name),
                StrCat("has no gradient: ", op.grad.none_because,
                       "; wrap its input in stop_gradient to treat it as a constant"))
        .At(ShortLocation(g.location(n)));
  }
}

// The op again in simpler ops, and the gradient of those. What is computed twice, CSE merges.
void Sweep::VisitDecomposed(NodeId n, Context& context) {
  Graph& g = b_.graph();
  const OpDef& op = g.op(n);
  const int first_value = g.value_capacity();
  const NodeId last = g.last();
  const std::vector<Value> inputs = g.operands(n);
  const std::vector<Attr> attrs(g.attrs(n).begin(), g.attrs(n).end());
  const std::vector<Value> results = op.decompose(b_, inputs, attrs);
  OSTRIA_CHECK(static_cast<int>(results.size()) == g.num_results(n), op.name);

  std::vector<Value> outputs, cotangents, wrt;
  std::vector<int> operand;
  for (int i = 0; i < g.num_results(n); ++i) {
    if (!facts_[g.result(n, i)].cotangent.valid()) continue;
    outputs.push_back(results[i]);
    cotangents.push_back(facts_[g.result(n, i)].cotangent);
  }
  for (int i = 0; i < static_cast<int>(inputs.size()); ++i) {
    // The same value twice is one variable: its cotangent is set once.
    bool again = false;
    for (int j = 0; j < i; ++j) again |= inputs[j] == inputs[i];
    if (again || !context.Needs(i)) continue;
    wrt.push_back(inputs[i]);
    operand.push_back(i);
  }
  std::vector<bool> connected;
  const NodeId begin = last.valid() ? g.next(last) : g.first();
  const std::vector<Value> gradients =
      Sweep(g, begin, first_value, b_.location()).Run(outputs, cotangents, wrt, &connected);
  for (size_t i = 0; i < wrt.size(); ++i) {
    if (connected[i]) context.Set(operand[i], gradients[i]);
  }
}

void RequireFloat(const Graph& graph, Value v, std::string_view what) {
  if (IsFloat(graph.dtype(v))) return;
  throw Error(ErrorCode::kTypeError,
              StrCat("gradient: ", what, " is ", graph.type(v),
                     ", but only floats have gradients; cast it, or leave it out"))
      .At(ShortLocation(graph.location(v)));
}

}  // namespace

std::vector<Value> Gradients(Graph& graph, std::span<const Value> outputs,
                             std::span<const Value> cotangents, std::span<const Value> wrt,
                             std::vector<bool>* connected) {
  OSTRIA_CHECK(cotangents.empty() || cotangents.size() == outputs.size(), cotangents.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    RequireFloat(graph, outputs[i], "the value to differentiate");
    if (cotangents.empty() || !cotangents[i].valid()) continue;
    if (graph.type(cotangents[i]) != graph.type(outputs[i])) {
      Fail(ErrorCode::kInvalidArgument, "gradient: a cotangent is ", graph.type(cotangents[i]),
           ", but its output is ", graph.type(outputs[i]), "; they must be equal");
    }
  }
  for (const Value v : wrt) RequireFloat(graph, v, "a value to differentiate with respect to");
  const LocationId location = outputs.empty() ? 0 : graph.location(outputs[0]);
  return Sweep(graph, graph.first(), 0, Derive(location, "gradient"))
      .Run(outputs, cotangents, wrt, connected);
}

Body DifferentiateBody(const Graph& body) {
  auto vjp = std::make_shared<Graph>(body.Clone());
  Graph& g = *vjp;
  std::vector<Value> outputs, cotangents, wrt;
  for (size_t i = 0; i < body.outputs().size(); ++i) {
    const Value v = body.outputs()[i];
    const ValueType type = g.type(v);
    const Value d =
        g.AddInput(StrCat("d_", body.output_name(static_cast<int>(i))), type, g.location(v));
    if (!IsFloat(type.dtype)) continue;
    outputs.push_back(v);
    cotangents.push_back(d);
  }
  for (const Value v : body.inputs()) {
    if (IsFloat(g.dtype(v))) wrt.push_back(v);
  }
  const std::vector<Value> gradients = Gradients(g, outputs, cotangents, wrt);
  while (!g.outputs().empty()) g.RemoveOutput(static_cast<int>(g.outputs().size()) - 1);
  size_t next = 0;
  for (size_t i = 0; i < body.inputs().size(); ++i) {
    const Value v = body.inputs()[i];
    Builder b(g, g.location(v));
    g.AddOutput(StrCat("d_", body.input_name(static_cast<int>(i))),
                IsFloat(g.dtype(v)) ? gradients[next++] : ops::ZerosLike(b, v));
  }
  // What only the outputs of the body needed is not part of its gradient, effects included.
  for (NodeId n = g.last(); n.valid();) {
    const NodeId previous = g.previous(n);
    bool used = false;
    for (int i = 0; i < g.num_results(n); ++i) {
      used |= g.num_uses(g.result(n, i)) > 0 || g.is_output(g.result(n, i));
    }
    if (!used) g.Erase(n);
    n = previous;
  }
  return vjp;
}

}  // namespace ostria
