// SPDX-License-Identifier: Apache-2.0
#include "ops/common/scan.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"x"}};

// Exact with zeros too, as nothing is divided. With p[k] the product before x[k], in the direction
// of the scan, the slope is p[k] s[k], where s runs against it:
//   inclusive: s[k] = g[k] + x[k+1] s[k+1]    exclusive: s[k] = g[k+1] + x[k+1] s[k+1]
void Grad(GradContext& c) {
  Builder& b = c.b;
  const Value x = c.input(0), g = c.cotangent();
  const bool exclusive = c.attr<bool>(kScanExclusive);
  const Value before = exclusive ? c.output() : b(kCumprod, {x}, ScanAttrs(c, true, false));
  const Value added = exclusive ? g : b(kMultiply, {x, g});
  Value s = b(kLinearScan, {x, added}, ScanAttrs(c, true, true));
  if (!exclusive) s = b(kAdd, {g, s});
  c.Set(0, b(kMultiply, {before, s}));
}

}  // namespace

constinit const OpDef ops::kCumprod = {
    .name = "cumprod",
    .doc =
        "The products of the first 1, 2, … elements along an axis.\n"
        "Integers and bools are multiplied as int64 (unsigned ones as uint64), as prod does. The "
        "gradient is exact where elements are 0, too.\n"
        "axis: the axis.\n"
        "exclusive: each product without its own element, the first one 1.\n"
        "reverse: from the end on.",
    .inputs = kInputs,
    .attrs = kScanAttrs,
    .outputs = kOneOutput,
    .traits = {.amp = Amp::kFp32},
    .infer = InferCumulative,
    .grad = Grad,
    .decompose = DecomposeAccumulate<kCumprod>,
    .flops = ReduceFlops,
};

}  // namespace ostria
