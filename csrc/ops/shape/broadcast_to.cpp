// SPDX-License-Identifier: Apache-2.0
#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria {
namespace {

enum Attribute { kShape };
constexpr InputDef kInputs[] = {{"x"}};
constexpr AttrDef kAttrs[] = {{"shape", AttrType::kShape}};

void Infer(InferContext& c) {
  const Shape &from = c.shape(0), &to = c.attr<Shape>(kShape);
  const int added = to.rank() - from.rank();
  bool fits = added >= 0;
  for (int i = 0; fits && i < from.rank(); ++i) {
    fits = from[i] == Dim(1) || Equal(from[i], to[i + added]) == Tri::kYes;
  }
  if (!fits) {
    c.Fail("a tensor of shape ", from, " cannot be broadcast to ", to,
           "; from the right, each of its sizes must be 1 or equal to the new "
           "one");
  }
  c.Out(c.dtype(0), to);
}

void Grad(GradContext& c) {
  const Shape shape = c.b.shape(c.input(0));
  c.Set(0, ops::SumTo(c.b, c.cotangent(), shape));
}

}  // namespace

constinit const OpDef ops::kBroadcastTo = {
    .name = "broadcast_to",
    .doc =
        "x repeated along new leading axes and along axes of size 1, by "
        "NumPy's rule.\n"
        "shape: the new shape.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .infer = Infer,
    .grad = Grad,
    .flops = NoFlops,
};

}  // namespace ostria
