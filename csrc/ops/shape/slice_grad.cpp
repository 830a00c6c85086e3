// SPDX-License-Identifier: Apache-2.0
#include "ir/grad_context.h"
#include "ops/common/infer.h"
#include "ops/common/slice.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kShape, kStart, kStop, kStep };
constexpr InputDef kInputs[] = {{"g"}};
constexpr AttrDef kAttrs[] = {{"shape", AttrType::kShape},
                              {"start", AttrType::kInts},
                              {"stop", AttrType::kInts},
                              {"step", AttrType::kInts, "[]"}};

using Ints = std::vector<int64_t>;

void Infer(InferContext& c) {
  const Shape& shape = c.attr<Shape>(kShape);
  const Shape taken =
      SlicedShape(c, shape, c.attr<Ints>(kStart), c.attr<Ints>(kStop), c.attr<Ints>(kStep));
  if (!(taken == c.shape(0))) {
    c.Fail("'g' has shape ", c.shape(0), ", but the slice of ", shape, " has shape ", taken);
  }
  c.Out(c.dtype(0), shape);
}

void Grad(GradContext& c) {
  c.Set(0, c.b(kSlice, {c.cotangent()},
               {c.attr<Ints>(kStart), c.attr<Ints>(kStop), c.attr<Ints>(kStep)}));
}

}  // namespace

constinit const OpDef ops::kSliceGrad = {
    .name = "slice_grad",
    .doc =
        "Zeros of `shape` with g at the positions that slice would take.\n"
        "shape: the result's shape.\n"
        "start: as for slice.\n"
        "stop: as for slice.\n"
        "step: as for slice.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.internal = true},
    .infer = Infer,
    .grad = Grad,
    .flops = NoFlops,
};

}  // namespace ostria
