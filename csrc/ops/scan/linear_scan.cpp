// SPDX-License-Identifier: Apache-2.0
#include "ops/common/scan.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"a"}, {"b"}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  RequireSameDType(c, 0, 1);
  const Shape &a = c.shape(0), &b = c.shape(1);
  NormalizeAxis(c, c.attr<int64_t>(kScanAxis), a);
  if (!(a == b)) c.Fail("'a' has shape ", a, " and 'b' has shape ", b, "; they must be equal");
  c.Out(c.input(0));
}

// What reaches b[k] is s[k], against the direction of the scan:
//   inclusive: s[k] = g[k] + a[k+1] s[k+1]    exclusive: s[k] = g[k+1] + a[k+1] s[k+1]
// and a[k] gets s[k] times the y before it.
void Grad(GradContext& c) {
  Builder& b = c.b;
  const Value a = c.input(0), g = c.cotangent();
  const bool exclusive = c.attr<bool>(kScanExclusive);
  const Value added = exclusive ? g : b(kMultiply, {a, g});
  Value s = b(kLinearScan, {a, added}, ScanAttrs(c, true, true));
  if (!exclusive) s = b(kAdd, {g, s});
  if (c.Needs(1)) c.Set(1, s);
  if (!c.Needs(0)) return;
  const Value before =
      exclusive ? c.output() : b(kLinearScan, {a, c.input(1)}, ScanAttrs(c, true, false));
  c.Set(0, b(kMultiply, {s, before}));
}

double Flops(std::span<const ValueType> in, std::span<const ValueType>, std::span<const Attr>) {
  return 2.0 * static_cast<double>(in[0].shape.numel());
}

}  // namespace

constinit const OpDef ops::kLinearScan = {
    .name = "linear_scan",
    .doc =
        "y[k] = a[k] y[k-1] + b[k] along an axis, 0 before the first. What cumprod's gradient is "
        "made of.\n"
        "axis: the axis.\n"
        "exclusive: y[k-1] in the place of y[k].\n"
        "reverse: from the end on.",
    .inputs = kInputs,
    .attrs = kScanAttrs,
    .outputs = kOneOutput,
    .traits = {.internal = true, .amp = Amp::kFp32},
    .infer = Infer,
    .grad = Grad,
    .flops = Flops,
};

}  // namespace ostria
