// SPDX-License-Identifier: Apache-2.0
#include "ops/common/control.h"

#include "ops/common/build.h"
#include "ops/ops.h"

namespace ostria::ops {

ScanParts PartsOf(std::span<const Attr> attrs, int num_operands) {
  ScanParts p;
  const Graph& body = *std::get<Body>(attrs[ScanAttr::kBody]);
  p.captures = static_cast<int>(std::get<int64_t>(attrs[ScanAttr::kCaptures]));
  p.carries = static_cast<int>(std::get<int64_t>(attrs[ScanAttr::kCarries]));
  p.xs = num_operands - p.captures - p.carries;
  p.ys = static_cast<int>(body.outputs().size()) - p.carries;
  p.length = std::get<int64_t>(attrs[ScanAttr::kLength]);
  p.reverse = std::get<bool>(attrs[ScanAttr::kReverse]);
  return p;
}

std::vector<Value> BuildScan(
    Builder& b, std::span<const Value> captures, std::span<const Value> carries,
    std::span<const Value> xs, int64_t length, bool reverse,
    const std::function<ScanReturns(Builder& body, const ScanArguments&)>& body) {
  auto graph = std::make_shared<Graph>();
  ScanArguments given;
  const auto add = [&](std::string_view name, std::span<const Value> values, bool row,
                       std::vector<Value>* out) {
    for (const Value v : values) {
      ValueType type = b.type(v);
      if (row) type.shape.Remove(0);
      out->push_back(graph->AddInput(StrCat(name, out->size()), type, b.location()));
    }
  };
  add("capture_", captures, false, &given.captures);
  add("carry_", carries, false, &given.carries);
  add("x", xs, true, &given.xs);
  given.step = graph->AddInput("step", kStepType, b.location());
  Builder inner(*graph, b.location());
  const ScanReturns out = body(inner, given);
  for (size_t i = 0; i < out.carries.size(); ++i) {
    graph->AddOutput(StrCat("carry_", i), out.carries[i]);
  }
  for (size_t i = 0; i < out.ys.size(); ++i) graph->AddOutput(StrCat("y", i), out.ys[i]);
  std::vector<Value> operands(captures.begin(), captures.end());
  operands.insert(operands.end(), carries.begin(), carries.end());
  operands.insert(operands.end(), xs.begin(), xs.end());
  return b.Multi(kScan, operands,
                 {Body(std::move(graph)), static_cast<int64_t>(captures.size()),
                  static_cast<int64_t>(carries.size()), length, reverse});
}

void RequireBodyInput(const InferContext& c, const Graph& body, int i, const ValueType& given,
                      std::string_view what, std::string_view role) {
  const ValueType& want = body.type(body.inputs()[i]);
  if (want == given) return;
  c.Fail("input ", i, " of ", what, " ('", body.input_name(i), "', ", role, ") takes ", want,
         ", but ", given, " is given");
}

void InferBody(InferContext& c, const Body& body) {
  if (body == nullptr) c.Fail("there is no body");
  if (static_cast<int>(body->inputs().size()) != c.size()) {
    c.Fail("the body has ", body->inputs().size(), " input(s), but ", c.size(), " were given");
  }
  for (int i = 0; i < c.size(); ++i) {
    const ValueType& type = body->type(body->inputs()[i]);
    if (type != c.input(i)) {
      c.Fail("input ", i, " ('", body->input_name(i), "') must be ", type, ", but is ", c.input(i));
    }
  }
  if (body->outputs().empty()) c.Fail("the body has no outputs");
  for (const Value v : body->outputs()) c.Out(body->type(v));
}

void RequireCarry(const InferContext& c, int k, std::string_view name, const ValueType& was,
                  const ValueType& became) {
  if (was == became) return;
  c.Fail("carry ", k, " ('", name, "') was ", was, " before the step and became ", became,
         "; a carry keeps its shape and dtype; use cast or reshape in the body, or change the "
         "initial value");
}

bool DropDead(Graph& g) {
  bool changed = false;
  for (NodeId n = g.last(); n.valid();) {
    const NodeId previous = g.previous(n);
    bool used = g.op(n).traits.ordered || !g.op(n).traits.pure;
    for (int i = 0; i < g.num_results(n); ++i) {
      used |= g.num_uses(g.result(n, i)) > 0 || g.is_output(g.result(n, i));
    }
    if (!used) g.Erase(n);
    changed |= !used;
    n = previous;
  }
  return changed;
}

Body KeepOutputs(const Graph& body, const std::vector<bool>& keep) {
  auto copy = std::make_shared<Graph>(body.Clone());
  for (size_t i = keep.size(); i-- > 0;) {
    if (!keep[i]) copy->RemoveOutput(static_cast<int>(i));
  }
  DropDead(*copy);
  return copy;
}

Value ReadAs(Builder& b, Value value, Value source) {
  const ValueType type = b.type(value);
  auto body = std::make_shared<Graph>(), vjp = std::make_shared<Graph>();
  for (const auto& graph : {body, vjp}) {
    graph->AddInput("value", type, b.location());
    graph->AddInput("source", type, b.location());
  }
  body->AddOutput("y", body->inputs()[0]);
  const Value d = vjp->AddInput("d_y", type, b.location());
  Builder in(*vjp, b.location());
  vjp->AddOutput("d_value", ZerosLike(in, vjp->inputs()[0]));
  vjp->AddOutput("d_source", d);
  return b(kCall, {value, source}, {Body(std::move(body)), Body(std::move(vjp)), false, false});
}

bool ChecksData(const Graph& g, NodeId n) {
  if (g.op(n).traits.checks_data) return true;
  for (const Attr& a : g.attrs(n)) {
    const Body* body = std::get_if<Body>(&a);
    if (body != nullptr && *body != nullptr && ChecksData(**body)) return true;
  }
  return false;
}

bool ChecksData(const Graph& body) {
  for (NodeId n = body.first(); n.valid(); n = body.next(n)) {
    if (ChecksData(body, n)) return true;
  }
  return false;
}

double BodyFlops(const Graph& body) {
  double sum = 0;
  for (NodeId n = body.first(); n.valid(); n = body.next(n)) sum += Flops(body, n);
  return sum;
}

}  // namespace ostria::ops
