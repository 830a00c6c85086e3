// SPDX-License-Identifier: Apache-2.0
// Averages count real elements only, not padding, as Keras does.
#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/common/pool.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"x"}};
constexpr AttrDef kAttrs[] = {kPoolWindow, kPoolStrides, kPoolPadding};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  c.Out(c.dtype(0), InferPool(c, c.shape(0)));
}

void Grad(GradContext& c) {
  Builder& b = c.b;
  const std::vector<Attr> attrs = PoolWithSize(b.graph().attrs(c.node()), b.shape(c.input(0)));
  c.Set(0, b(kAvgPool2dGrad, {c.cotangent()}, attrs));
}

Value WindowSums(Builder& b, const Window& window, Value x, const Shape& y) {
  const Value padded = PadImage(b, window, x, 0);
  Value sum;
  for (int64_t p = 0; p < window.size[0] * window.size[1]; ++p) {
    const Value seen =
        TakePosition(b, window, padded, {y[1], y[2]}, p / window.size[1], p % window.size[1]);
    sum = sum.valid() ? b(kAdd, {sum, seen}) : seen;
  }
  return sum;
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kAvgPool2d, in, attrs);
  const Window window = PoolWindow(attrs);
  const std::vector<ValueType> types = {b.type(in[0])};
  std::vector<ValueType> result;
  InferTypes(kAvgPool2d, types, attrs, &result);
  const Shape x = types[0].shape, y = result[0].shape;
  const Value ones = Full(b, {types[0].dtype, {1, x[1], x[2], 1}}, 1);
  const Value counts = WindowSums(b, window, ones, y);
  return {b(kDivide, {WindowSums(b, window, in[0], y), counts})};
}

}  // namespace

constinit const OpDef ops::kAvgPool2d = {
    .name = "avg_pool2d",
    .doc =
        "The mean of every window of images [n, h, w, c]; padding is not counted.\n"
        "window: height and width.\n"
        "strides: steps of the window in height and width.\n"
        "padding: how far windows reach beyond top, bottom, left and right.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
    .flops = PoolFlops,
};

}  // namespace ostria
