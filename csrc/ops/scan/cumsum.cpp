// SPDX-License-Identifier: Apache-2.0
#include "ops/common/scan.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"x"}};

void Grad(GradContext& c) {
  c.Set(0, c.b(kCumsum, {c.cotangent()}, ScanAttrs(c, c.attr<bool>(kScanExclusive), true)));
}

}  // namespace

constinit const OpDef ops::kCumsum = {
    .name = "cumsum",
    .doc =
        "The sums of the first 1, 2, … elements along an axis.\n"
        "Integers and bools are summed as int64 (unsigned ones as uint64), as sum does.\n"
        "axis: the axis.\n"
        "exclusive: each sum without its own element, the first one 0.\n"
        "reverse: from the end on.",
    .inputs = kInputs,
    .attrs = kScanAttrs,
    .outputs = kOneOutput,
    .traits = {.amp = Amp::kFp32},
    .infer = InferCumulative,
    .grad = Grad,
    .decompose = DecomposeAccumulate<kCumsum>,
    .flops = ReduceFlops,
};

}  // namespace ostria
