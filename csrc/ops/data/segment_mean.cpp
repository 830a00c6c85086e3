// SPDX-License-Identifier: Apache-2.0
#include "ops/common/scatter.h"
#include "ops/common/via_float32.h"

namespace ostria {

using namespace ops;

namespace {

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  InferSegments(c);
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kSegmentMean, in, attrs);
  const DType t = b.dtype(in[0]);
  const int64_t segments = std::get<int64_t>(attrs[kNumSegments]);
  const Shape ids = b.shape(in[1]);
  const Value sum = b(kSegmentSum, in, {segments});
  const Value count = b(kSegmentSum, {Full(b, {t, ids}, 1.0), in[1]}, {segments});
  Shape wide{segments};
  for (int i = 1; i < b.shape(sum).rank(); ++i) wide.Append(1);
  return {b(kDivide, {sum, Reshape(b, b(kMaximum, {count, Scalar(b, t, 1.0)}), wide)})};
}

}  // namespace

constinit const OpDef ops::kSegmentMean = {
    .name = "segment_mean",
    .doc =
        "The arithmetic mean of each segment, of the slices of data that have its id; 0 without "
        "any.\n"
        "Floating-point only.\n"
        "segment_ids: int32 or int64, in any order, shaped like the first axes of data; one "
        "outside "
        "of 0..num_segments-1 is an IndexError at run time.\n"
        "num_segments: how many segments there are.",
    .inputs = kSegmentInputs,
    .attrs = kSegmentAttrs,
    .outputs = kOneOutput,
    .traits = {.checks_data = true, .amp = Amp::kFp32},
    .infer = Infer,
    .grad = NoGrad("it is differentiated through its decomposition"),
    .decompose = Decompose,
    .flops = SegmentFlops,
};

}  // namespace ostria
