// SPDX-License-Identifier: Apache-2.0
#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kAxis };
constexpr InputDef kInputs[] = {{"x"}, {"indices", Arity::kOne, false}};
constexpr AttrDef kAttrs[] = {{"axis", AttrType::kInt, "0"}};

void Infer(InferContext& c) {
  RequireIndex(c, 1);
  const Shape &shape = c.shape(0), &indices = c.shape(1);
  const int axis = NormalizeAxis(c, c.attr<int64_t>(kAxis), shape);
  if (shape[axis] == Dim(0) && indices.is_static() && indices.numel() > 0) {
    c.Fail("axis ", axis, " of shape ", shape, " has no elements to take, but ", indices.numel(),
           " indices were given");
  }
  c.Out(c.dtype(0), GatheredShape(shape, axis, indices));
}

void Grad(GradContext& c) {
  if (!c.Needs(0)) return;
  const Value g = c.cotangent();
  const Value zeros = ZerosLike(c.b, c.input(0));
  c.Set(0, c.b(kScatterAdd, {zeros, c.input(1), g}, {c.attr<int64_t>(kAxis)}));
}

}  // namespace

constinit const OpDef ops::kGather = {
    .name = "gather",
    .doc =
        "The slices of x at `indices` along an axis, as NumPy's take: the axis is replaced by the "
        "shape of\n"
        "`indices`. Negative indices count from the end; others outside are an IndexError at run "
        "time.\n"
        "indices: int32 or int64.\n"
        "axis: the axis of x that the indices count along.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.checks_data = true},
    .infer = Infer,
    .grad = Grad,
    .flops = NoFlops,
};

}  // namespace ostria
