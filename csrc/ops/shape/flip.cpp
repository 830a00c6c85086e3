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

using Ints = std::vector<int64_t>;

void Infer(InferContext& c) {
  NormalizeAxes(c, c.attr<Ints>(kAxis), c.shape(0));
  c.Out(c.input(0));
}

void Grad(GradContext& c) { c.Set(0, c.b(kFlip, {c.cotangent()}, {c.attr<Ints>(kAxis)})); }

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  const size_t rank = static_cast<size_t>(b.shape(in[0]).rank());
  Ints start(rank, 0), stop(rank, INT64_MAX), step(rank, 1);
  for (int axis : Axes(std::get<Ints>(attrs[kAxis]), static_cast<int>(rank))) {
    start[axis] = INT64_MAX;
    stop[axis] = INT64_MIN;
    step[axis] = -1;
  }
  return {b(kSlice, {in[0]}, {start, stop, step})};
}

}  // namespace

constinit const OpDef ops::kFlip = {
    .name = "flip",
    .doc =
        "x with the order of its elements reversed along axes.\n"
        "axis: the axes to reverse, all of them when empty.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
};

}  // namespace ostria
