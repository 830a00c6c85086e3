// SPDX-License-Identifier: Apache-2.0
// The exponential moving average of weights, behind the update of the same step.
#include "ops/common/build.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kMomentum, kOverwriteFrequency };
constexpr InputDef kInputs[] = {{"a", Arity::kVariadic}, {"w", Arity::kVariadic}, kStep, kCommit};
constexpr AttrDef kAttrs[] = {Number("momentum", "0.99"),
                              {"overwrite_frequency", AttrType::kInt, "0"}};
constexpr OutputDef kOutputs[] = {{"a_out", Arity::kVariadic}, {"w_out", Arity::kVariadic}};

void Infer(InferContext& c) {
  const int n = (c.size() - 2) / 2;
  if (n == 0) c.Fail("needs at least one variable");
  if (c.dtype(0) != DType::kFloat32 && c.dtype(0) != DType::kFloat64) {
    c.FailType("averages float32 or float64 variables, not ", c.dtype(0));
  }
  for (int i = 0; i < 2 * n; ++i) {
    RequireSameDType(c, 0, i);
    if (!(c.shape(i) == c.shape(i % n))) {
      c.Fail("'w", i - n, "' has shape ", c.shape(i), ", but its average ", c.shape(i - n));
    }
  }
  if (c.input(2 * n) != ValueType{DType::kInt64, {}}) {
    c.Fail("'step' must be int64[], but is ", c.input(2 * n));
  }
  if (c.input(2 * n + 1) != ValueType{DType::kBool, {}}) {
    c.Fail("'commit' must be bool[], but is ", c.input(2 * n + 1));
  }
  const double momentum = c.attr<double>(kMomentum);
  if (!(momentum >= 0 && momentum <= 1)) {
    c.Fail("momentum is ", momentum, "; it must be between 0 and 1");
  }
  if (const int64_t every = c.attr<int64_t>(kOverwriteFrequency); every < 0) {
    c.Fail("overwrite_frequency is ", every, "; give a number of steps, or 0 for never");
  }
  for (int i = 0; i < 2 * n; ++i) c.Out(c.input(i));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  const size_t n = (in.size() - 2) / 2;
  const DType dtype = b.dtype(in[0]);
  const Value step = in[2 * n], commit = in[2 * n + 1];
  const auto count = [&](int64_t x) { return Scalar(b, DType::kInt64, static_cast<double>(x)); };
  const int64_t every = std::get<int64_t>(attrs[kOverwriteFrequency]);
  const Value share = b(kWhere, {b(kLessEqual, {step, count(1)}), Scalar(b, dtype, 0),
                                 Scalar(b, dtype, std::get<double>(attrs[kMomentum]))});
  Value overwrite;
  if (every > 0) {
    const Value due = b(kEqual, {b(kRemainder, {step, count(every)}), count(0)});
    overwrite = b(kLogicalAnd, {commit, due});
  }
  std::vector<Value> out(2 * n);
  for (size_t i = 0; i < n; ++i) {
    const Value a = in[i], w = in[n + i];
    const Value after = b(kAdd, {w, b(kMultiply, {b(kSubtract, {a, w}), share})});
    out[i] = b(kWhere, {commit, after, a});
    out[n + i] = overwrite.valid() ? b(kWhere, {overwrite, after, w}) : w;
  }
  return out;
}

}  // namespace

constinit const OpDef ops::kEmaUpdate = {
    .name = "ema_update",
    .doc =
        "Moves the average of every variable on: a' = momentum a + (1 - momentum) w; `step` is 1 "
        "in\n"
        "the first one, where a' = w. When commit is false everything stays as it is.\n"
        "momentum: share of the average that is kept.\n"
        "overwrite_frequency: every so many steps w' = a'; never when 0.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = {.internal = true},
    .infer = Infer,
    .grad = GradRule::Zero(),  // differentiation ends at a write
    .decompose = Decompose,
};

}  // namespace ostria
