// SPDX-License-Identifier: Apache-2.0
#include "ops/common/slice.h"
#include "ir/grad_context.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kStart, kStop, kStep };
constexpr InputDef kInputs[] = {{"x"}};
constexpr AttrDef kAttrs[] = {
    {"start", AttrType::kInts}, {"stop", AttrType::kInts}, {"step", AttrType::kInts, "[]"}};

using Ints = std::vector<int64_t>;

void Infer(InferContext& c) {
  c.Out(c.dtype(0),
        SlicedShape(c, c.shape(0), c.attr<Ints>(kStart), c.attr<Ints>(kStop), c.attr<Ints>(kStep)));
}

void Grad(GradContext& c) {
  const Shape shape = c.b.shape(c.input(0));
  c.Set(0, c.b(kSliceGrad, {c.cotangent()},
               {shape, c.attr<Ints>(kStart), c.attr<Ints>(kStop), c.attr<Ints>(kStep)}));
}

}  // namespace

constinit const OpDef ops::kSlice = {
    .name = "slice",
    .doc =
        "NumPy's basic slicing x[start:stop:step, …], one triple per axis.\n"
        "Negative positions count from the end; positions outside are clamped. On a symbolic axis "
        "the\n"
        "bounds must leave a size that is known for every binding: x[k:], x[:-k], all of it, or "
        "every s-th.\n"
        "start: first position per axis.\n"
        "stop: the position after the last one; the largest or smallest int64 is an open end.\n"
        "step: the stride, not 0; 1 everywhere when empty.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .infer = Infer,
    .grad = Grad,
    .flops = NoFlops,
};

}  // namespace ostria
