// SPDX-License-Identifier: Apache-2.0
#include "ir/grad_context.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kAxis };
constexpr InputDef kInputs[] = {{"x"}, {"indices", Arity::kOne, false}, {"updates"}};
constexpr AttrDef kAttrs[] = {{"axis", AttrType::kInt, "0"}};

void Infer(InferContext& c) {
  RequireNumber(c, 0);
  RequireIndex(c, 1);
  RequireSameDType(c, 0, 2);
  const Shape& shape = c.shape(0);
  const int axis = NormalizeAxis(c, c.attr<int64_t>(kAxis), shape);
  const Shape want = GatheredShape(shape, axis, c.shape(1));
  if (!(want == c.shape(2))) {
    c.Fail("'updates' has shape ", c.shape(2), ", but x of shape ", shape, " and indices of shape ",
           c.shape(1), " along axis ", axis, " need updates of shape ", want);
  }
  c.Out(c.input(0));
}

void Grad(GradContext& c) {
  const Value g = c.cotangent();
  if (c.Needs(0)) c.Set(0, g);
  if (c.Needs(2)) c.Set(2, c.b(kGather, {g, c.input(1)}, {c.attr<int64_t>(kAxis)}));
}

// One addition per element of the updates.
double Flops(std::span<const ValueType> in, std::span<const ValueType>, std::span<const Attr>) {
  return static_cast<double>(in[2].shape.numel());
}

}  // namespace

constinit const OpDef ops::kScatterAdd = {
    .name = "scatter_add",
    .doc =
        "x with `updates` added to its slices at `indices` along an axis; repeated indices add "
        "up.\n"
        "Negative indices count from the end; others outside are an IndexError at run time.\n"
        "indices: int32 or int64.\n"
        "updates: shaped like gather(x, indices, axis).\n"
        "axis: the axis of x that the indices count along.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.checks_data = true},
    .infer = Infer,
    .grad = Grad,
    .flops = Flops,
};

}  // namespace ostria
