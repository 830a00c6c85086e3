// SPDX-License-Identifier: Apache-2.0
// scan: a loop of static length over the rows of tensors. Layout, n = captures + carries + xs:
//   operands     captures…, carries…, xs…        xs: [length, …], one row is given to each step
//   body inputs  captures…, carries…, rows of xs…, step    step: int64[], the row; with reverse it
//   body outputs carries…, rows of ys…                     counts from length - 1 down to 0
//   results      last carries…, ys…              ys: [length, …], row i written by the step of row
//   i attributes   body, captures (how many), carries (how many), length, reverse
// BuildScan (ops/common/control.h) makes one; common/scan_grad.cpp holds its gradient.
#include "ir/grad_context.h"
#include "ops/common/collective.h"
#include "ops/common/control.h"
#include "ops/common/scan_grad.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"inputs", Arity::kVariadic, false}};
constexpr AttrDef kAttrs[] = {{"body", AttrType::kBody},
                              {"captures", AttrType::kInt},
                              {"carries", AttrType::kInt},
                              {"length", AttrType::kInt},
                              {"reverse", AttrType::kBool, "false"}};
constexpr OutputDef kOutputs[] = {{"outputs", Arity::kVariadic}};

void Infer(InferContext& c) {
  const Body& body = c.attr<Body>(ScanAttr::kBody);
  if (body == nullptr) c.Fail("there is no body to repeat");
  RefuseCollectives(c, *body, "the body");
  const int64_t captures = c.attr<int64_t>(ScanAttr::kCaptures);
  const int64_t carries = c.attr<int64_t>(ScanAttr::kCarries);
  const int64_t length = c.attr<int64_t>(ScanAttr::kLength);
  if (captures < 0 || carries < 0 || captures > c.size() || carries > c.size() - captures) {
    c.Fail(captures, " capture(s) and ", carries, " carry(s) of ", c.size(), " input(s)");
  }
  if (length < 0) c.Fail("length is ", length, "; it is a number of steps, 0 or more");
  if (static_cast<int>(body->inputs().size()) != c.size() + 1) {
    c.Fail("the body has ", body->inputs().size(), " input(s); with ", c.size(),
           " input(s) of the scan it takes ", c.size() + 1, ", the last one the step");
  }
  if (static_cast<int64_t>(body->outputs().size()) < carries) {
    c.Fail("the body returns ", body->outputs().size(), " value(s), fewer than the ", carries,
           " carry(s)");
  }
  if (body->outputs().empty()) c.Fail("the body returns nothing");
  const ScanParts p = PartsOf(c.attrs(), c.size());
  for (int i = 0; i < c.size(); ++i) {
    ValueType given = c.input(i);
    if (i >= p.first_x()) {
      if (given.shape.rank() == 0) {
        c.Fail("xs ", i - p.first_x(), " is ", given, "; it needs a leading axis of ", length,
               " rows to be read one by one");
      }
      if (!(given.shape[0] == Dim(length))) {
        c.Fail("xs ", i - p.first_x(), " is ", given, " and has ", given.shape[0],
               " row(s), but the scan takes ", length,
               " step(s); all xs have as many rows as there are steps, a fixed number");
      }
      given.shape.Remove(0);
    }
    RequireBodyInput(c, *body, i, given, "the body",
                     i < p.captures    ? "a capture"
                     : i < p.first_x() ? "a carry"
                                       : "a row of xs");
  }
  RequireBodyInput(c, *body, c.size(), kStepType, "the body", "the step");
  for (int k = 0; k < p.carries; ++k) {
    RequireCarry(c, k, body->input_name(p.captures + k), c.input(p.captures + k),
                 body->type(body->outputs()[k]));
    c.Out(c.input(p.captures + k));
  }
  for (int k = 0; k < p.ys; ++k) {
    ValueType type = body->type(body->outputs()[p.carries + k]);
    type.shape.Insert(0, length);
    c.Out(type);
  }
}

double Flops(std::span<const ValueType>, std::span<const ValueType>, std::span<const Attr> attrs) {
  return BodyFlops(*std::get<Body>(attrs[ScanAttr::kBody])) *
         static_cast<double>(std::get<int64_t>(attrs[ScanAttr::kLength]));
}

}  // namespace

constinit const OpDef ops::kScan = {
    .name = "scan",
    .doc =
        "A sub-graph repeated over the rows of tensors, with values carried from step to step.\n"
        "body: captures, carries, one row of each xs, the step; to new carries, rows of ys.\n"
        "captures: how many inputs every step is given unchanged.\n"
        "carries: how many inputs after those are the first values of carries.\n"
        "length: the number of steps.\n"
        "reverse: from the last row to the first.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = {.internal = true},
    .infer = Infer,
    .grad = ScanGrad,
    .flops = Flops,
};

}  // namespace ostria
