// SPDX-License-Identifier: Apache-2.0
// Linear in g. Every element of g goes to the place that won its window; overlapping windows add up
// in the order of window positions, so the result is the same on any number of threads.
#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/common/pool.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"g"}, {"index", Arity::kOne, false}};
constexpr AttrDef kAttrs[] = {{"window", AttrType::kInts},
                              {"strides", AttrType::kInts},
                              {"padding", AttrType::kInts},
                              {"size", AttrType::kShape}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  RequireInteger(c, 1);
  const int dims = SpatialDims(c, 0);
  const Shape image = PooledImage(c.shape(0), c.attrs());
  const Shape y = InferPool(c, dims, image);
  if (!(y == c.shape(0)) || !(y == c.shape(1))) {
    c.Fail("'g' ", c.shape(0), " and 'index' ", c.shape(1), " must have the pool's shape ", y);
  }
  c.Out(c.dtype(0), image);
}

// Where position p won, `v`, elsewhere zero.
Value WhereWon(Builder& b, Value index, int64_t p, Value v) {
  const Value here = Scalar(b, b.dtype(index), static_cast<double>(p));
  return b(kWhere, {b(kEqual, {index, here}), v, Scalar(b, b.dtype(v), 0)});
}

void Grad(GradContext& c) {
  Builder& b = c.b;
  const Window window = PoolWindow(b.graph().attrs(c.node()));
  const Shape y = b.shape(c.input(0));
  const Value padded = PadImage(b, window, c.cotangent(), 0);
  Value sum;
  for (int64_t p = 0; p < window.positions(); ++p) {
    const Value seen = TakePosition(b, window, padded, y, p);
    const Value part = WhereWon(b, c.input(1), p, seen);
    sum = sum.valid() ? b(kAdd, {sum, part}) : part;
  }
  c.Set(0, sum);
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kMaxPoolGrad, in, attrs);
  const Window window = PoolWindow(attrs);
  const Shape image = PooledImage(b.shape(in[0]), attrs), padded = PaddedShape(window, image);
  Value sum;
  for (int64_t p = 0; p < window.positions(); ++p) {
    const Value placed = PlacePosition(b, window, WhereWon(b, in[1], p, in[0]), padded, p);
    sum = sum.valid() ? b(kAdd, {sum, placed}) : placed;
  }
  return {CropImage(b, window, sum, image)};
}

// Each element of g is added to one place.
double Flops(std::span<const ValueType> in, std::span<const ValueType>, std::span<const Attr>) {
  return static_cast<double>(in[0].shape.numel());
}

}  // namespace

constinit const OpDef ops::kMaxPoolGrad = {
    .name = "max_pool_grad",
    .doc =
        "The gradient of max_pool1d to max_pool3d: g at the places of the maxima, zeros "
        "elsewhere.\n"
        "window: as for the pool.\n"
        "strides: as for the pool.\n"
        "padding: as for the pool.\n"
        "size: the image's spatial sizes.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.internal = true},
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
    .on_empty = OnEmpty::kZero,
    .flops = Flops,
};

}  // namespace ostria
