// SPDX-License-Identifier: Apache-2.0
#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/ops.h"

namespace ostria {
namespace {

enum Attribute { kShape };
constexpr InputDef kInputs[] = {{"x"}};
constexpr AttrDef kAttrs[] = {{"shape", AttrType::kShape}};

void Infer(InferContext& c) {
  const Shape &from = c.shape(0), &to = c.attr<Shape>(kShape);
  switch (Equal(from.numel_dim(), to.numel_dim())) {
    case Tri::kYes: return c.Out(c.dtype(0), to);
    case Tri::kNo:
      c.Fail("a tensor of shape ", from, " (", from.numel_dim(), " elements) cannot become ", to,
             " (", to.numel_dim(),
             " elements); the numbers of elements must be equal, and -1 in one "
             "place "
             "is worked out from the others");
    case Tri::kUnknown: break;
  }
  c.Fail("a tensor of shape ", from, " has as many elements as ", to,
         " only for some sizes; write the new shape with the symbols of the "
         "old one, as in "
         "reshape(x, (x.shape[0], -1))");
}

void Grad(GradContext& c) {
  const Shape shape = c.b.shape(c.input(0));
  c.Set(0, ops::Reshape(c.b, c.cotangent(), shape));
}

}  // namespace

constinit const OpDef ops::kReshape = {
    .name = "reshape",
    .doc =
        "The same elements in the same row-major order under another shape.\n"
        "shape: the new shape, with as many elements as x.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.view = true},
    .infer = Infer,
    .grad = Grad,
    .flops = NoFlops,
};

}  // namespace ostria
