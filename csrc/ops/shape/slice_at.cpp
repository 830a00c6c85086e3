// SPDX-License-Identifier: Apache-2.0
#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kAxis, kStart, kSize };
constexpr InputDef kInputs[] = {{"x"}};
constexpr AttrDef kAttrs[] = {
    {"axis", AttrType::kInt}, {"start", AttrType::kShape}, {"size", AttrType::kShape}};

void Infer(InferContext& c) {
  const Shape &start = c.attr<Shape>(kStart), &size = c.attr<Shape>(kSize);
  if (start.rank() != 1 || size.rank() != 1) {
    c.Fail("start and size must be shapes of one dimension, but are ", start, " and ", size);
  }
  const int axis = NormalizeAxis(c, c.attr<int64_t>(kAxis), c.shape(0));
  const Dim end = start[0] + size[0], have = c.shape(0)[axis];
  if (end.is_static() && have.is_static() && end.value() > have.value()) {
    c.Fail("elements ", start[0], "..", end, " of axis ", axis, " lie outside of shape ",
           c.shape(0));
  }
  Shape out = c.shape(0);
  out[axis] = size[0];
  c.Out(c.dtype(0), out);
}

void Grad(GradContext& c) {
  // Zeros before and after.
  Builder& b = c.b;
  const Value g = c.cotangent();
  const ValueType type = b.type(c.input(0));
  const int axis = Axis(c.attr<int64_t>(kAxis), type.shape.rank());
  const Dim start = c.attr<Shape>(kStart)[0], size = c.attr<Shape>(kSize)[0];
  const auto zeros = [&](Dim n) {
    Shape shape = type.shape;
    shape[axis] = n;
    return Full(b, {type.dtype, shape}, 0.0);
  };
  const Value before = zeros(start), after = zeros(type.shape[axis] - start - size);
  c.Set(0, b(kConcat, {before, g, after}, {int64_t{axis}}));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  const size_t rank = static_cast<size_t>(b.shape(in[0]).rank());
  const int axis = Axis(std::get<int64_t>(attrs[kAxis]), static_cast<int>(rank));
  const int64_t at = std::get<Shape>(attrs[kStart])[0].value();
  std::vector<int64_t> start(rank, 0), stop(rank, INT64_MAX), step(rank, 1);
  start[axis] = at;
  stop[axis] = at + std::get<Shape>(attrs[kSize])[0].value();
  return {b(kSlice, {in[0]}, {start, stop, step})};
}

}  // namespace

constinit const OpDef ops::kSliceAt = {
    .name = "slice_at",
    .doc =
        "`size` elements of one axis from `start` on; both may be symbolic.\n"
        "axis: the axis.\n"
        "start: a shape of rank 1 with the first position.\n"
        "size: a shape of rank 1 with the number of elements.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.internal = true},
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
};

}  // namespace ostria
