// SPDX-License-Identifier: Apache-2.0
#include "ir/grad_context.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kLow, kHigh, kValue };
constexpr InputDef kInputs[] = {{"x"}};
constexpr AttrDef kAttrs[] = {
    {"low", AttrType::kInts}, {"high", AttrType::kInts}, {"value", AttrType::kFloat, "0"}};

using Ints = std::vector<int64_t>;

void Infer(InferContext& c) {
  const Ints &low = c.attr<Ints>(kLow), &high = c.attr<Ints>(kHigh);
  const Shape& shape = c.shape(0);
  const size_t rank = static_cast<size_t>(shape.rank());
  if (low.size() != rank || high.size() != rank) {
    c.Fail("low (", Join(low, ", "), ") and high (", Join(high, ", "),
           ") need one number for each axis of shape ", shape);
  }
  Shape out = shape;
  for (size_t i = 0; i < rank; ++i) {
    if (low[i] < 0 || high[i] < 0) {
      c.Fail("low (", Join(low, ", "), ") and high (", Join(high, ", "),
             ") must not be negative; use slice to take elements away");
    }
    out[static_cast<int>(i)] = shape[static_cast<int>(i)] + Dim(low[i]) + Dim(high[i]);
  }
  c.Out(c.dtype(0), out);
}

void Grad(GradContext& c) {
  Ints stop = c.attr<Ints>(kHigh);
  for (int64_t& n : stop) n = n == 0 ? INT64_MAX : -n;
  c.Set(0, c.b(kSlice, {c.cotangent()}, {c.attr<Ints>(kLow), stop, Ints{}}));
}

}  // namespace

constinit const OpDef ops::kPad = {
    .name = "pad",
    .doc =
        "x with a constant before and after its elements.\n"
        "low: how many per axis before the first element, not negative.\n"
        "high: how many per axis after the last one.\n"
        "value: the constant.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .infer = Infer,
    .grad = Grad,
    .flops = NoFlops,
};

}  // namespace ostria
