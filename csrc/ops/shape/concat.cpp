// SPDX-License-Identifier: Apache-2.0
#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kAxis };
constexpr InputDef kInputs[] = {{"xs", Arity::kVariadic}};
constexpr AttrDef kAttrs[] = {{"axis", AttrType::kInt, "0"}};

void Infer(InferContext& c) {
  if (c.size() == 0) c.Fail("needs at least one tensor, but none was given");
  const Shape& first = c.shape(0);
  if (first.rank() == 0) {
    c.Fail("a tensor of rank 0 has no axis to join along; expand_dims it first");
  }
  const int axis = NormalizeAxis(c, c.attr<int64_t>(kAxis), first);
  Shape out = first;
  for (int i = 1; i < c.size(); ++i) {
    RequireSameDType(c, 0, i);
    const Shape& shape = c.shape(i);
    bool fits = shape.rank() == first.rank();
    for (int k = 0; fits && k < shape.rank(); ++k) {
      fits = k == axis || Equal(shape[k], first[k]) == Tri::kYes;
    }
    if (!fits) {
      c.Fail("'", InputName(c, i), "' has shape ", shape, " and '", InputName(c, 0), "' has shape ",
             first, "; joined along axis ", axis, ", all other sizes must be equal");
    }
    out[axis] = out[axis] + shape[axis];
  }
  c.Out(c.dtype(0), out);
}

void Grad(GradContext& c) {
  Builder& b = c.b;
  const Value g = c.cotangent();
  const int axis = Axis(c.attr<int64_t>(kAxis), b.shape(g).rank());
  Dim at = 0;
  for (int i = 0; i < c.size(); ++i) {
    const Dim size = b.shape(c.input(i))[axis];
    if (c.Needs(i)) {
      c.Set(i, b(kSliceAt, {g}, {int64_t{axis}, Shape{at}, Shape{size}}));
    }
    at = at + size;
  }
}

}  // namespace

constinit const OpDef ops::kConcat = {
    .name = "concat",
    .doc =
        "Tensors joined along an axis; their other sizes and dtypes are equal.\n"
        "xs: one or more tensors.\n"
        "axis: the axis along which they follow each other.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .infer = Infer,
    .grad = Grad,
    .flops = NoFlops,
};

}  // namespace ostria
