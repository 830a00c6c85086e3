// SPDX-License-Identifier: Apache-2.0
#include "ops/common/scatter.h"
#include "ops/common/via_float32.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  const Value g = c.cotangent();
  if (c.Needs(0)) c.Set(0, g);
  if (c.Needs(2)) c.Set(2, c.b(kGather, {g, c.input(1)}, {c.attr<int64_t>(kScatterAxis)}));
}

// Halves are summed in float32.
std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kScatterAdd, in, attrs);
  return {b(kScatterAdd, in, {attrs.begin(), attrs.end()})};
}

}  // namespace

constinit const OpDef ops::kScatterAdd = {
    .name = "scatter_add",
    .doc =
        "x with `updates` added to its slices at `indices` along an axis; repeated indices add "
        "up.\n"
        "Negative indices count from the end; others outside are an IndexError at run time.\n"
        "indices: int32 or int64.\n"
        "updates: shaped like gather(x, indices, axis).\n"
        "axis: the axis of x that the indices count along.",
    .inputs = kScatterInputs,
    .attrs = kScatterAttrs,
    .outputs = kOneOutput,
    .traits = {.checks_data = true},
    .infer = InferScatterNumbers,
    .grad = Grad,
    .decompose = Decompose,
    .flops = ScatterFlops,
};

}  // namespace ostria
