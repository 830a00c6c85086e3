// SPDX-License-Identifier: Apache-2.0
#include "runtime/agreement.h"

#include <algorithm>
#include <vector>

#include "ops/common/collective.h"
#include "ops/ops.h"

namespace ostria {
namespace {

bool DependsOnSizes(const Attr& attr) {
  const Shape* shape = std::get_if<Shape>(&attr);
  return shape != nullptr &&
         std::any_of(shape->begin(), shape->end(), [](Dim d) { return !d.is_static(); });
}

const Graph* BodyOf(const Attr& attr) {
  const Body* body = std::get_if<Body>(&attr);
  return body == nullptr ? nullptr : body->get();
}

// Whatever it is given, each replica gets another part of it.
bool Scatters(const Graph& g, NodeId n) {
  return g.is(n, ops::kReduceScatter) || g.is(n, ops::kReplicaPart);
}

// Of a body, whether anything in it makes values common: then its results are taken for common.
bool Agrees(const Graph& g, NodeId n) {
  if (ops::IsCollective(g.op(n))) return !Scatters(g, n);
  const std::span<const Attr> attrs = g.attrs(n);
  return std::any_of(attrs.begin(), attrs.end(), [](const Attr& attr) {
    const Graph* body = BodyOf(attr);
    if (body == nullptr) return false;
    for (NodeId inner = body->first(); inner.valid(); inner = body->next(inner)) {
      if (Agrees(*body, inner)) return true;
    }
    return false;
  });
}

bool HasSizes(const Graph& g, NodeId n) {
  const std::span<const Attr> attrs = g.attrs(n);
  return std::any_of(attrs.begin(), attrs.end(), [](const Attr& attr) {
    if (DependsOnSizes(attr)) return true;
    const Graph* body = BodyOf(attr);
    if (body == nullptr) return false;
    for (NodeId inner = body->first(); inner.valid(); inner = body->next(inner)) {
      if (HasSizes(*body, inner)) return true;
    }
    return false;
  });
}

}  // namespace

void RequireAgreement(const Graph& g, std::span<const std::shared_ptr<Variable>> variables,
                      std::span<const int> own, std::span<const Parts> parts) {
  const auto is_own_copy = [&](size_t i) {
    return variables[i]->copies() == Copies::kSummed || (i < parts.size() && parts[i].any());
  };
  std::vector<bool> differs(static_cast<size_t>(g.value_capacity()));
  for (int i : own) differs[g.inputs()[static_cast<size_t>(i)].id] = true;
  for (size_t i = 0; i < variables.size(); ++i) {
    if (is_own_copy(i)) differs[g.state()[i].in.id] = true;
  }
  for (NodeId n = g.first(); n.valid(); n = g.next(n)) {
    const std::vector<Value> operands = g.operands(n);
    const bool is_own = !Agrees(g, n) && (Scatters(g, n) || HasSizes(g, n) ||
                                          std::any_of(operands.begin(), operands.end(),
                                                      [&](Value v) { return differs[v.id]; }));
    for (int i = 0; is_own && i < g.num_results(n); ++i) differs[g.result(n, i).id] = true;
  }
  for (size_t i = 0; i < variables.size(); ++i) {
    const Value out = g.state()[i].out;
    if (is_own_copy(i) || !differs[out.id]) continue;
    throw Error(ErrorCode::kInvalidArgument,
                StrCat("variable '", variables[i]->name(),
                       "' is assigned a value that each replica computes from data of its own, so "
                       "its copies would differ; assign what all agree on, such as "
                       "get_replica_context().all_reduce('mean', value), or make the variable with "
                       "aggregation='sum' where each replica adds its part"))
        .At(ShortLocation(g.location(out)));
  }
}

}  // namespace ostria
