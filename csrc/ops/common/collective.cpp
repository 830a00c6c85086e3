// SPDX-License-Identifier: Apache-2.0
#include "ops/common/collective.h"

#include <algorithm>
#include <array>

#include "ir/grad_context.h"
#include "ir/graph.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria::ops {

bool ReducesInPlace(const OpDef& op) {
  return &op == &kAllReduce || &op == &kAllReduceStart || &op == &kAllReduceWait;
}

bool IsCollective(const OpDef& op) {
  return ReducesInPlace(op) || &op == &kAllGather || &op == &kReduceScatter || &op == &kBroadcast;
}

void RequireReduction(InferContext& c, int i) {
  constexpr std::array<std::string_view, 3> kAccepted = {"sum", "min", "max"};
  const std::string& given = c.attr<std::string>(i);
  if (std::find(kAccepted.begin(), kAccepted.end(), given) == kAccepted.end()) {
    c.Fail("reduction '", given, "' is not known; give 'sum', 'min' or 'max'");
  }
}

void InferAllReduce(InferContext& c) {
  if (c.size() == 0) c.Fail("needs at least one tensor, but none was given");
  RequireReduction(c, AllReduceAttr::kReduction);
  const auto& calls = c.attr<std::vector<int64_t>>(AllReduceAttr::kCalls);
  int64_t tensors = 0;
  for (const int64_t n : calls) tensors = n < 1 ? -1 : tensors < 0 ? tensors : tensors + n;
  if (!calls.empty() && tensors != c.size()) {
    c.Fail("calls must be counts that add up to the ", c.size(), " tensor(s), or be empty");
  }
  if (&c.op() != &kAllReduce && c.attr<int64_t>(AllReduceAttr::kSlot) < 0) {
    c.Fail("slot must not be negative");
  }
  for (int i = 0; i < c.size(); ++i) {
    RequireNumber(c, i);
    RequireSameDType(c, 0, i);
    c.Out(c.input(i));
  }
}

void InferPart(InferContext& c, int i) {
  const int64_t replicas = c.attr<int64_t>(i);
  if (replicas < 1) c.Fail("replicas is ", replicas, "; it must be at least 1");
  Shape out = c.shape(0);
  if (out.rank() == 0) c.Fail("a tensor of rank 0 has no axis to cut; expand_dims it first");
  const Dim rows = FloorDiv(out[0], replicas);
  if (Equal(rows * replicas, out[0]) != Tri::kYes) {
    c.Fail("axis 0 of shape ", out, " is not a multiple of the ", replicas,
           " replicas; pad it with zeros");
  }
  out[0] = rows;
  c.Out(c.dtype(0), out);
}

void RequireSum(const GradContext& c, int i) {
  const std::string& given = c.attr<std::string>(i);
  if (given == "sum") return;
  throw Error(ErrorCode::kNotImplemented, std::string(c.b.graph().op(c.node()).name),
              StrCat("reduction '", given,
                     "' has no gradient, only 'sum' has; wrap its operand in stop_gradient to "
                     "treat it as a constant"));
}

void RefuseCollectives(const InferContext& c, const Graph& body, std::string_view what) {
  for (NodeId n = body.first(); n.valid(); n = body.next(n)) {
    const OpDef& op = body.op(n);
    if (IsCollective(op)) {
      c.Fail(what, " holds ", op.name, " [", ShortLocation(body.location(n)),
             "], which every rank must run equally often, but data of one rank decide how often ",
             what, " runs; move it in front of this op or behind it");
    }
    for (const Attr& attr : body.attrs(n)) {
      const Body* inner = std::get_if<Body>(&attr);
      if (inner != nullptr && *inner != nullptr) RefuseCollectives(c, **inner, what);
    }
  }
}

}  // namespace ostria::ops
