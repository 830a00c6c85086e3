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
constexpr AttrDef kAttrs[] = {{"axis", AttrType::kInts, "[]"}};

void Infer(InferContext& c) {
  const auto& axes = c.attr<std::vector<int64_t>>(kAxis);
  const Shape& shape = c.shape(0);
  Shape out = shape;
  std::vector<int> drop;
  if (axes.empty()) {
    for (int i = 0; i < shape.rank(); ++i) {
      if (shape[i] == Dim(1)) drop.push_back(i);
    }
  } else {
    drop = NormalizeAxes(c, axes, shape);
  }
  for (size_t i = drop.size(); i-- > 0;) {
    if (!(shape[drop[i]] == Dim(1))) {
      c.Fail("axis ", drop[i], " of shape ", shape, " has size ", shape[drop[i]],
             "; only axes of size 1 can be removed; use reshape, or reduce the axis");
    }
    out.Remove(drop[i]);
  }
  c.Out(c.dtype(0), out);
}

void Grad(GradContext& c) {
  const Shape shape = c.b.shape(c.input(0));
  c.Set(0, Reshape(c.b, c.cotangent(), shape));
}

}  // namespace

constinit const OpDef ops::kSqueeze = {
    .name = "squeeze",
    .doc =
        "x without axes of size 1.\n"
        "axis: the axes to remove, all of size 1 when empty.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.view = true},
    .infer = Infer,
    .grad = Grad,
    .flops = NoFlops,
};

}  // namespace ostria
