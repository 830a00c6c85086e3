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
constexpr AttrDef kAttrs[] = {{"window", AttrType::kInts},
                              {"strides", AttrType::kInts},
                              {"padding", AttrType::kInts},
                              {"size", AttrType::kShape}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  const int dims = SpatialDims(c, 0);
  const Shape image = PooledImage(c.shape(0), c.attrs());
  const Shape y = InferPool(c, dims, image);
  if (!(y == c.shape(0))) c.Fail("'g' has shape ", c.shape(0), ", but the pool gives ", y);
  c.Out(c.dtype(0), image);
}

// Linear in g: the adjoint's adjoint.
void Grad(GradContext& c) {
  const auto attrs = c.b.graph().attrs(c.node());
  const std::vector<Attr> pool(attrs.begin(), attrs.begin() + PoolAttr::kSize);
  c.Set(0, c.b(AvgPoolOp(c.b.shape(c.input(0)).rank() - 2), {c.cotangent()}, pool));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kAvgPoolGrad, in, attrs);
  const Window window = PoolWindow(attrs);
  const ValueType g = b.type(in[0]);
  const Shape image = PooledImage(g.shape, attrs), padded = PaddedShape(window, image);
  const Value counts = WindowElements(b, window, g.dtype, image, g.shape);
  const Value share = b(kDivide, {in[0], counts});
  Value sum;
  for (int64_t p = 0; p < window.positions(); ++p) {
    const Value placed = PlacePosition(b, window, share, padded, p);
    sum = sum.valid() ? b(kAdd, {sum, placed}) : placed;
  }
  return {CropImage(b, window, sum, image)};
}

// Each element of g is divided, then added to the places of its window.
double Flops(std::span<const ValueType> in, std::span<const ValueType>,
             std::span<const Attr> attrs) {
  const Window window = PoolWindow(attrs);
  return static_cast<double>(in[0].shape.numel()) * static_cast<double>(1 + window.positions());
}

}  // namespace

constinit const OpDef ops::kAvgPoolGrad = {
    .name = "avg_pool_grad",
    .doc =
        "The gradient of avg_pool1d to avg_pool3d: every element of g, divided among its window.\n"
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
