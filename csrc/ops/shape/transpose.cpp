// SPDX-License-Identifier: Apache-2.0
#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kAxes };
constexpr InputDef kInputs[] = {{"x"}};
constexpr AttrDef kAttrs[] = {{"axes", AttrType::kInts, "[]"}};

using Ints = std::vector<int64_t>;

std::vector<int> Order(const Ints& axes, int rank) {
  std::vector<int> order;
  for (int i = 0; i < rank; ++i) order.push_back(axes.empty() ? rank - 1 - i : Axis(axes[i], rank));
  return order;
}

void Infer(InferContext& c) {
  const Ints& axes = c.attr<Ints>(kAxes);
  const Shape& shape = c.shape(0);
  const int rank = shape.rank();
  if (!axes.empty()) {
    NormalizeAxes(c, axes, shape);  // in range, no axis twice
    if (static_cast<int>(axes.size()) != rank) {
      c.Fail("axes (", Join(axes, ", "), ") name ", axes.size(), " of the ", rank,
             " axes of a tensor of shape ", shape, "; name each axis once");
    }
  }
  Shape out;
  for (int axis : Order(axes, rank)) out.Append(shape[axis]);
  c.Out(c.dtype(0), out);
}

void Grad(GradContext& c) {
  const auto order = Order(c.attr<Ints>(kAxes), c.b.shape(c.input(0)).rank());
  Ints inverse(order.size());
  for (size_t i = 0; i < order.size(); ++i) inverse[order[i]] = static_cast<int64_t>(i);
  c.Set(0, c.b(kTranspose, {c.cotangent()}, {inverse}));
}

}  // namespace

constinit const OpDef ops::kTranspose = {
    .name = "transpose",
    .doc =
        "The axes of x in another order.\n"
        "axes: for each axis of the result, the axis of x it comes from; reversed order when "
        "empty.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .infer = Infer,
    .grad = Grad,
    .flops = NoFlops,
};

}  // namespace ostria
