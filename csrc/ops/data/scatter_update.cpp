// SPDX-License-Identifier: Apache-2.0
#include "ops/common/scatter.h"

namespace ostria {

using namespace ops;

namespace {

// Only the last of the updates of one slice has an effect: the one whose number is still there when
// all have written theirs.
void Grad(GradContext& c) {
  Builder& b = c.b;
  const Value g = c.cotangent(), indices = c.input(1);
  const int64_t axis = c.attr<int64_t>(kScatterAxis);
  if (c.Needs(0)) {
    c.Set(0, b(kScatterUpdate, {g, indices, ZerosLike(b, c.input(2))}, {axis}));
  }
  if (!c.Needs(2)) return;
  const Shape shape = b.shape(c.input(0)), places = b.shape(indices);
  const int at = Axis(axis, shape.rank());
  const Value number = Reshape(b, b(kIota, {}, {Shape{places.numel_dim()}, DType::kInt64}), places);
  const Value none = Full(b, {DType::kInt64, {shape[at]}}, 0.0);
  const Value last = b(kScatterUpdate, {none, indices, number}, {int64_t{0}});
  const Value wins = b(kEqual, {b(kGather, {last, indices}, {int64_t{0}}), number});
  Shape wide = places;  // against the updates: axes after the indices are 1
  for (int i = at + 1; i < shape.rank(); ++i) wide.Append(1);
  const Value taken = b(kGather, {g, indices}, {axis});
  c.Set(2, b(kWhere, {Reshape(b, wins, wide), taken, Scalar(b, b.dtype(g), 0.0)}));
}

}  // namespace

constinit const OpDef ops::kScatterUpdate = {
    .name = "scatter_update",
    .doc =
        "x with `updates` in the place of its slices at `indices` along an axis; of repeated "
        "indices the last one counts.\n"
        "Negative indices count from the end; others outside are an IndexError at run time.\n"
        "indices: int32 or int64.\n"
        "updates: shaped like gather(x, indices, axis).\n"
        "axis: the axis of x that the indices count along.",
    .inputs = kScatterInputs,
    .attrs = kScatterAttrs,
    .outputs = kOneOutput,
    .traits = {.checks_data = true},
    .infer = InferScatter,
    .grad = Grad,
    .flops = NoFlops,
};

}  // namespace ostria
