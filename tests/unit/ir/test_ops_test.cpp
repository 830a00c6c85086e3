// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "test_ops.h"

namespace ostria::test {
namespace {

constexpr InputDef kX[] = {{"x"}};
constexpr InputDef kAB[] = {{"a"}, {"b"}};
constexpr InputDef kXMaybeY[] = {{"x"}, {"y", Arity::kOptional}};
constexpr InputDef kXs[] = {{"xs", Arity::kVariadic}};
constexpr OutputDef kMany[] = {{"ys", Arity::kVariadic}};

constexpr AttrDef kTimes[] = {{"times", AttrType::kInt, "1"}};
constexpr AttrDef kN[] = {{"n", AttrType::kInt}};
constexpr AttrDef kShape[] = {{"shape", AttrType::kShape}};
constexpr AttrDef kValue[] = {{"value", AttrType::kTensor}};
constexpr AttrDef kBody[] = {{"body", AttrType::kBody}, {"vjp", AttrType::kBody, "none"}};
constexpr AttrDef kSettings[] = {{"flag", AttrType::kBool, "true"},
                                 {"rate", AttrType::kFloat, "0.5"},
                                 {"name", AttrType::kString, "\"same\""},
                                 {"dtype", AttrType::kDType, "float32"},
                                 {"sizes", AttrType::kInts, "[]"}};

void Same(InferContext& c) {
  if (c.size() == 2 && c.input(0) != c.input(1)) c.Fail(c.input(0), " and ", c.input(1), " differ");
  c.Out(c.input(0));
}
void Repeat(InferContext& c) {
  if (c.attr<int64_t>(0) < 1 || c.attr<int64_t>(0) > 100) c.Fail("n must be in 1..100");
  for (int64_t i = 0; i < c.attr<int64_t>(0); ++i) c.Out(c.input(0));
}
void ToShape(InferContext& c) {
  if (Equal(c.attr<Shape>(0).numel_dim(), c.shape(0).numel_dim()) != Tri::kYes) {
    c.Fail("cannot make ", c.attr<Shape>(0), " of ", c.shape(0));
  }
  c.Out(c.dtype(0), c.attr<Shape>(0));
}
void OfTensor(InferContext& c) { c.Out(c.attr<Tensor>(0).dtype(), c.attr<Tensor>(0).shape()); }
void OfDType(InferContext& c) { c.Out(c.attr<DType>(3), {}); }
void OfBody(InferContext& c) {
  const Body& body = c.attr<Body>(0);
  if (body == nullptr) c.Fail("body is missing");
  if (static_cast<int>(body->inputs().size()) != c.size()) c.Fail("wrong number of arguments");
  for (int i = 0; i < c.size(); ++i) {
    if (body->type(body->inputs()[i]) != c.input(i)) c.Fail("argument ", i, " is ", c.input(i));
  }
  if (body->outputs().empty()) c.Fail("body has no output");
  for (const Value v : body->outputs()) c.Out(body->type(v));
}

}  // namespace

const OpDef kAdd = {.name = "add", .inputs = kAB, .outputs = kOneOutput, .infer = Same};
const OpDef kNeg = {.name = "neg", .inputs = kX, .outputs = kOneOutput, .infer = Same};
const OpDef kTake = {.name = "take",
                     .version = 3,
                     .inputs = kXMaybeY,
                     .attrs = kTimes,
                     .outputs = kOneOutput,
                     .infer = Same};
const OpDef kSplit = {
    .name = "split", .inputs = kX, .attrs = kN, .outputs = kMany, .infer = Repeat};
const OpDef kReshape = {
    .name = "reshape", .inputs = kX, .attrs = kShape, .outputs = kOneOutput, .infer = ToShape};
const OpDef kConst = {.name = "const", .attrs = kValue, .outputs = kOneOutput, .infer = OfTensor};
const OpDef kConfig = {
    .name = "config", .inputs = kXs, .attrs = kSettings, .outputs = kOneOutput, .infer = OfDType};
const OpDef kCall = {
    .name = "call", .inputs = kXs, .attrs = kBody, .outputs = kMany, .infer = OfBody};

}  // namespace ostria::test

namespace ostria::ops {

std::span<const OpDef* const> AllOps() {
  static constexpr std::array<const OpDef*, 8> kOps = {
      &test::kAdd,     &test::kNeg,   &test::kTake,   &test::kSplit,
      &test::kReshape, &test::kConst, &test::kConfig, &test::kCall};
  return kOps;
}

}  // namespace ostria::ops
