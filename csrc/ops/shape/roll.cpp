// SPDX-License-Identifier: Apache-2.0
#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kShift, kAxis };
constexpr InputDef kInputs[] = {{"x"}};
constexpr AttrDef kAttrs[] = {{"shift", AttrType::kInts}, {"axis", AttrType::kInts, "[]"}};

using Ints = std::vector<int64_t>;

void Infer(InferContext& c) {
  const Ints &shift = c.attr<Ints>(kShift), &axis = c.attr<Ints>(kAxis);
  for (int64_t a : axis) NormalizeAxis(c, a, c.shape(0));
  if (shift.size() != 1 && (axis.empty() || shift.size() != axis.size())) {
    c.Fail(shift.size(), " shifts (", Join(shift, ", "), ") for ", axis.size(), " axes (",
           Join(axis, ", "), "); give one number for all, or one for each axis");
  }
  c.Out(c.input(0));
}

void Grad(GradContext& c) {
  Ints back = c.attr<Ints>(kShift);
  for (int64_t& by : back) by = by == INT64_MIN ? by : -by;
  c.Set(0, c.b(kRoll, {c.cotangent()}, {back, c.attr<Ints>(kAxis)}));
}

Value RollAxis(Builder& b, Value x, int axis, int64_t by) {
  const Shape shape = b.shape(x);
  const size_t rank = static_cast<size_t>(shape.rank());
  const int64_t n = shape[axis].value();
  if (n == 0) return x;
  const int64_t at = n - ((by % n) + n) % n;  // what comes to the front
  if (at == n) return x;
  const auto part = [&](int64_t from, int64_t to) {
    Ints start(rank, 0), stop(rank, INT64_MAX);
    start[static_cast<size_t>(axis)] = from;
    stop[static_cast<size_t>(axis)] = to;
    return b(kSlice, {x}, {start, stop, Ints(rank, 1)});
  };
  const Value front = part(at, n), back = part(0, at);
  return b(kConcat, {front, back}, {int64_t{axis}});
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  const Ints &shift = std::get<Ints>(attrs[kShift]), &axis = std::get<Ints>(attrs[kAxis]);
  const Shape shape = b.shape(in[0]);
  Value x = in[0];
  if (axis.empty()) {
    x = RollAxis(b, Reshape(b, x, {shape.numel_dim()}), 0, shift[0]);
    return {Reshape(b, x, shape)};
  }
  for (size_t i = 0; i < axis.size(); ++i) {
    x = RollAxis(b, x, Axis(axis[i], shape.rank()), shift[shift.size() == 1 ? 0 : i]);
  }
  return {x};
}

}  // namespace

constinit const OpDef ops::kRoll = {
    .name = "roll",
    .doc =
        "x with its elements moved on along axes, the last ones coming in at the front.\n"
        "shift: by how many places, one number for all axes or one for each; back if negative.\n"
        "axis: the axes; when empty the elements move on in row-major order, whatever the shape.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
    .flops = NoFlops,
};

}  // namespace ostria
