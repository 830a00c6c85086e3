// SPDX-License-Identifier: Apache-2.0
#include "ops/common/build.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kBeta2Decay, kEpsilon1, kEpsilon2, kClipThreshold };
constexpr auto kInputs = UpdateInputs<UpdateTakes::kRateAndStep>("r", "c");
constexpr auto kAttrs = NormUpdateAttrs(Number("beta2_decay", "-0.8"), Number("epsilon1", "1e-30"),
                                        Number("epsilon2", "0.001"), Number("clip_threshold", "1"));
constexpr auto kOutputs = UpdateOutputs("r_out", "c_out");

// Means of rows and columns of a matrix or of stacked ones; of fewer axes the moment itself.
Shape AdafactorSlotShape(const Shape& w, int slot) {
  Shape shape = w;
  if (w.rank() >= 2) {
    shape.Remove(w.rank() - 1 - slot);
  } else if (slot == 1) {
    shape = {};
  }
  return shape;
}

void Infer(InferContext& c) {
  RequireNotNegative(c, {kEpsilon1, kEpsilon2});
  if (const double limit = c.attr<double>(kClipThreshold); !(limit > 0)) {
    c.Fail("clip_threshold is ", limit, "; it must be positive");
  }
  InferUpdate(c, AdafactorSlotShape);
}

std::vector<Value> Rule(Builder& b, std::span<const Attr> attrs, Value w, Value g,
                        std::span<const Value> slots, Value lr, Value step) {
  const DType dtype = b.dtype(w);
  const Shape shape = b.shape(w);
  const int64_t last = shape.rank() - 1;
  const Value cap = b(kRsqrt, {step}), rate = b(kMinimum, {lr, cap});
  const Value forget = b(kPow, {step, Scalar(b, dtype, std::get<double>(attrs[kBeta2Decay]))});
  const auto blend = [&](Value slot, Value now) {
    return b(kAdd, {slot, b(kMultiply, {b(kSubtract, {now, slot}), forget})});
  };
  const auto mean = [&](Value x, int64_t axis) {
    return b(kMean, {x}, {std::vector<int64_t>{axis}, true});
  };
  const auto rms = [&](Value x) { return b(kSqrt, {b(kMean, {b(kSquare, {x})})}); };
  const Value square = Plus(b, b(kSquare, {g}), std::get<double>(attrs[kEpsilon1]));
  Value r, c = slots[1], v;
  if (last < 1) {
    r = v = blend(slots[0], square);
  } else {
    const Value rows = Reshape(b, mean(square, last), b.shape(slots[0]));
    const Value cols = Reshape(b, mean(square, last - 1), b.shape(slots[1]));
    r = blend(slots[0], rows);
    c = blend(slots[1], cols);
    Shape row_shape = shape, col_shape = shape;
    row_shape[static_cast<int>(last)] = 1;
    col_shape[static_cast<int>(last - 1)] = 1;
    const Value share = b(kDivide, {r, mean(r, last - 1)});
    v = b(kMultiply, {Reshape(b, share, row_shape), Reshape(b, c, col_shape)});
  }
  const Value u = b(kDivide, {g, b(kSqrt, {v})});
  const Value length = Times(b, rms(u), 1 / std::get<double>(attrs[kClipThreshold]));
  const Value clip = b(kMaximum, {length, Scalar(b, dtype, 1)});
  const Value size = b(kMaximum, {rms(w), Scalar(b, dtype, std::get<double>(attrs[kEpsilon2]))});
  const Value alpha = b(kDivide, {b(kMultiply, {size, rate}), clip});
  return {b(kSubtract, {w, b(kMultiply, {u, alpha})}), r, c};
}

}  // namespace

constinit const OpDef ops::kAdafactorUpdate = {
    .name = "adafactor_update",
    .doc =
        "One step of Adafactor (Shazeer and Stern 2018) for all variables; `step` is 1 in the "
        "first one.\n"
        "The second moment of a matrix is kept as the means r of its rows and c of its columns; "
        "stacked\n"
        "matrices each have theirs. Of a vector or scalar r is the second moment and c, a scalar, "
        "unused.\n"
        "lr is at most 1 / sqrt(step), as in Keras, and is multiplied by the root mean square of "
        "w.\n"
        "beta2_decay: in step t the moments forget the share t^beta2_decay.\n"
        "epsilon1: added to squares of gradients.\n"
        "epsilon2: the least that the root mean square of w counts as.\n"
        "clip_threshold: limit of the root mean square of a move before lr." OSTRIA_SEGMENT_DOC,
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = kUpdateTraits,
    .infer = Infer,
    .grad = GradRule::Zero(),  // differentiation ends at a write
    .decompose = DecomposeByRule<ops::kAdafactorUpdate, Rule>,
};

}  // namespace ostria
