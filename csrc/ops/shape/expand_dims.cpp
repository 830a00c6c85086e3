// SPDX-License-Identifier: Apache-2.0
#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kAxis };
constexpr InputDef kInputs[] = {{"x"}};
constexpr AttrDef kAttrs[] = {{"axis", AttrType::kInts}};

void Infer(InferContext& c) {
  const auto& axes = c.attr<std::vector<int64_t>>(kAxis);
  const Shape& shape = c.shape(0);
  const int rank = shape.rank() + static_cast<int>(axes.size());
  std::vector<bool> added(static_cast<size_t>(rank));
  for (int64_t axis : axes) {
    if (axis < -rank || axis >= rank) {
      c.Fail("axis ", axis, " is out of range for a result of rank ", rank, " (from shape ", shape,
             "); valid axes are ", -rank, "..", rank - 1);
    }
    if (added[Axis(axis, rank)]) {
      c.Fail("axis ", axis, " is given twice in (", Join(axes, ", "), "); name each new axis once");
    }
    added[Axis(axis, rank)] = true;
  }
  Shape out;
  const Dim* next = shape.begin();
  for (int i = 0; i < rank; ++i) out.Append(added[i] ? Dim(1) : *next++);
  c.Out(c.dtype(0), out);
}

void Grad(GradContext& c) {
  const Shape shape = c.b.shape(c.input(0));
  c.Set(0, Reshape(c.b, c.cotangent(), shape));
}

}  // namespace

constinit const OpDef ops::kExpandDims = {
    .name = "expand_dims",
    .doc =
        "x with new axes of size 1.\n"
        "axis: where the new axes lie in the result.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.view = true},
    .infer = Infer,
    .grad = Grad,
    .flops = NoFlops,
};

}  // namespace ostria
