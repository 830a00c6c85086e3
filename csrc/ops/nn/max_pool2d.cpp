// SPDX-License-Identifier: Apache-2.0
// The index output is what the gradient needs: where in its window each maximum lay. First of
// equals.
#include <limits>

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
constexpr OutputDef kOutputs[] = {{"y"}, {"index"}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  const Shape y = InferPool(c, c.shape(0));
  c.Out(c.dtype(0), y);
  c.Out(PoolIndexType(PoolWindow(c.attrs())), y);
}

void Grad(GradContext& c) {
  Builder& b = c.b;
  const std::vector<Attr> attrs = PoolWithSize(b.graph().attrs(c.node()), b.shape(c.input(0)));
  c.Set(0, b(kMaxPool2dGrad, {c.cotangent(), c.output(1)}, attrs));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kMaxPool2d, in, attrs);
  const Window window = PoolWindow(attrs);
  const std::vector<ValueType> types = {b.type(in[0])};
  std::vector<ValueType> result;
  InferTypes(kMaxPool2d, types, attrs, &result);
  const Shape y = result[0].shape;
  const Value padded = PadImage(b, window, in[0], -std::numeric_limits<double>::infinity());
  Value best, index;
  for (int64_t p = 0; p < window.size[0] * window.size[1]; ++p) {
    const Value x =
        TakePosition(b, window, padded, {y[1], y[2]}, p / window.size[1], p % window.size[1]);
    const Value here = Scalar(b, result[1].dtype, static_cast<double>(p));
    if (!best.valid()) {
      best = x;
      index = Full(b, result[1], 0);
      continue;
    }
    const Value better = b(kLogicalOr, {b(kGreater, {x, best}), b(kIsnan, {x})});
    best = b(kWhere, {better, x, best});
    index = b(kWhere, {better, here, index});
  }
  return {best, index};
}

}  // namespace

constinit const OpDef ops::kMaxPool2d = {
    .name = "max_pool2d",
    .doc =
        "The largest element of every window of images [n, h, w, c], and its position in the "
        "window.\n"
        "window: height and width.\n"
        "strides: steps of the window in height and width.\n"
        "padding: how far windows reach beyond top, bottom, left and right; what lies there never "
        "wins.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = {.smooth = false},
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
    .flops = PoolFlops,
};

}  // namespace ostria
