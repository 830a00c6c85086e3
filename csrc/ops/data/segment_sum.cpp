// SPDX-License-Identifier: Apache-2.0
#include "ops/common/scatter.h"
#include "ops/common/via_float32.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) { c.Set(0, c.b(kGather, {c.cotangent(), c.input(1)}, {int64_t{0}})); }

// Halves are summed in float32.
std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kSegmentSum, in, attrs);
  return {b(kSegmentSum, in, {attrs.begin(), attrs.end()})};
}

}  // namespace

constinit const OpDef ops::kSegmentSum = {
    .name = "segment_sum",
    .doc =
        "The sum of each segment, of the slices of data that have its id, in data's dtype; 0 "
        "without "
        "any.\n"
        "segment_ids: int32 or int64, in any order, shaped like the first axes of data; one "
        "outside "
        "of 0..num_segments-1 is an IndexError at run time.\n"
        "num_segments: how many segments there are.",
    .inputs = kSegmentInputs,
    .attrs = kSegmentAttrs,
    .outputs = kOneOutput,
    .traits = {.checks_data = true, .amp = Amp::kFp32},
    .infer = InferSegments,
    .grad = Grad,
    .decompose = Decompose,
    .flops = SegmentFlops,
};

}  // namespace ostria
