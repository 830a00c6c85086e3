// SPDX-License-Identifier: Apache-2.0
#include "ops/common/along_axis.h"

#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"x"}, {"indices", Arity::kOne, false}};
constexpr AttrDef kAttrs[] = {{"axis", AttrType::kInt, "-1"}};

void Infer(InferContext& c) {
  const int axis = RequireAlongAxis(c);
  const Shape &x = c.shape(0), &indices = c.shape(1);
  const Shape common = BroadcastShapes(c, WithSize(x, axis, 1), WithSize(indices, axis, 1));
  c.Out(c.dtype(0), WithSize(common, axis, indices[axis]));
}

// x and the indices with the sizes that they have in common.
std::vector<Value> Broadcast(Builder& b, Value x, Value indices, const Shape& result, int axis) {
  return {BroadcastTo(b, x, WithSize(result, axis, b.shape(x)[axis])),
          BroadcastTo(b, indices, result)};
}

void Grad(GradContext& c) {
  Builder& b = c.b;
  const Shape shape = b.shape(c.input(0)), result = b.shape(c.output());
  const int axis = Axis(c.attr<int64_t>(AlongAxisAttr::kAxis), result.rank());
  const Value indices = BroadcastTo(b, c.input(1), result);
  const Value g = c.cotangent();
  const Value zeros = Full(b, {b.dtype(g), WithSize(result, axis, shape[axis])}, 0.0);
  const Value dx = b(kPutAlongAxis, {zeros, indices, g}, {int64_t{axis}, std::string("add")});
  c.Set(0, SumTo(b, dx, shape));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  const std::vector<ValueType> types = {b.type(in[0]), b.type(in[1])};
  std::vector<ValueType> result;
  InferTypes(kTakeAlongAxis, types, attrs, &result);
  const Shape& shape = result[0].shape;
  const int axis = Axis(std::get<int64_t>(attrs[AlongAxisAttr::kAxis]), shape.rank());
  return {b(kTakeAlongAxis, Broadcast(b, in[0], in[1], shape, axis), {int64_t{axis}})};
}

}  // namespace

constinit const OpDef ops::kTakeAlongAxis = {
    .name = "take_along_axis",
    .doc =
        "The elements of x at `indices`, which count along an axis; the other axes broadcast.\n"
        "Negative indices count from the end; others outside are an IndexError at run time.\n"
        "indices: int32 or int64, of x's rank.\n"
        "axis: the axis of x that the indices count along.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.checks_data = true},
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
    .flops = NoFlops,
};

}  // namespace ostria
