// SPDX-License-Identifier: Apache-2.0
#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/common/pool.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"g"}};
constexpr AttrDef kAttrs[] = {kPoolWindow, kPoolStrides, kPoolPadding, {"size", AttrType::kShape}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  RequireRank(c, 0, 4, "batch, height, width, channels");
  const Shape image = PooledImage(c.shape(0), c.attrs());
  const Shape y = InferPool(c, image);
  if (!(y == c.shape(0))) c.Fail("'g' has shape ", c.shape(0), ", but the pool gives ", y);
  c.Out(c.dtype(0), image);
}

// Linear in g: the adjoint's adjoint.
void Grad(GradContext& c) {
  const auto attrs = c.b.graph().attrs(c.node());
  const std::vector<Attr> pool(attrs.begin(), attrs.begin() + PoolAttr::kSize);
  c.Set(0, c.b(kAvgPool2d, {c.cotangent()}, pool));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kAvgPool2dGrad, in, attrs);
  const Window window = PoolWindow(attrs);
  const ValueType g = b.type(in[0]);
  const Shape image = PooledImage(g.shape, attrs), padded = PaddedShape(window, image);
  const Value ones = PadImage(b, window, Full(b, {g.dtype, {1, image[1], image[2], 1}}, 1), 0);
  const int64_t positions = window.size[0] * window.size[1];
  Value counts;
  for (int64_t p = 0; p < positions; ++p) {
    const Value seen = TakePosition(b, window, ones, {g.shape[1], g.shape[2]}, p / window.size[1],
                                    p % window.size[1]);
    counts = counts.valid() ? b(kAdd, {counts, seen}) : seen;
  }
  const Value share = b(kDivide, {in[0], counts});
  Value sum;
  for (int64_t p = 0; p < positions; ++p) {
    const Value placed =
        PlacePosition(b, window, share, padded, p / window.size[1], p % window.size[1]);
    sum = sum.valid() ? b(kAdd, {sum, placed}) : placed;
  }
  return {CropImage(b, window, sum, image)};
}

// Each element of g is divided, then added to the places of its window.
double Flops(std::span<const ValueType> in, std::span<const ValueType>,
             std::span<const Attr> attrs) {
  const Window window = PoolWindow(attrs);
  return static_cast<double>(in[0].shape.numel()) * (1 + window.size[0] * window.size[1]);
}

}  // namespace

constinit const OpDef ops::kAvgPool2dGrad = {
    .name = "avg_pool2d_grad",
    .doc =
        "The gradient of avg_pool2d: every element of g, divided among its window.\n"
        "window: as for avg_pool2d.\n"
        "strides: as for avg_pool2d.\n"
        "padding: as for avg_pool2d.\n"
        "size: the image's height and width.",
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
