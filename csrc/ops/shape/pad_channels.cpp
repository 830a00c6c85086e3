// SPDX-License-Identifier: Apache-2.0
// Images and kernels get channels of zeros where a library is faster with more of them, in the pass
// over memory that casts them.
#include "ops/common/build.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kChannels, kDType };
constexpr InputDef kInputs[] = {{"x"}};
constexpr AttrDef kAttrs[] = {{"channels", AttrType::kInt}, {"dtype", AttrType::kDType}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  const DType dtype = c.attr<DType>(kDType);
  Shape y = c.shape(0);
  const int last = y.rank() - 1;
  if (last < 0) c.Fail("'x' has no axis of channels");
  const auto channels = c.attr<int64_t>(kChannels);
  if (!y[last].is_static() || y[last].value() > channels) {
    c.Fail("channels is ", channels, "; x ", y, " has more in its last axis");
  }
  if (!IsFloat(dtype)) c.FailType("dtype is ", dtype, "; it must be a float");
  y[last] = channels;
  c.Out(dtype, y);
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  const Value x = Cast(b, in[0], std::get<DType>(attrs[kDType]));
  const Shape& shape = b.shape(x);
  std::vector<int64_t> low(static_cast<size_t>(shape.rank())), high = low;
  high.back() = std::get<int64_t>(attrs[kChannels]) - shape[shape.rank() - 1].value();
  return {b(kPad, {x}, {low, high, 0.0})};
}

}  // namespace

constinit const OpDef ops::kPadChannels = {
    .name = "pad_channels",
    .doc =
        "x cast to dtype, with zeros behind its last axis until that has as many elements as\n"
        "channels says.\n"
        "channels: the size of the last axis.\n"
        "dtype: a float.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.internal = true},
    .infer = Infer,
    .grad = NoGrad("it is made after differentiation"),
    .decompose = Decompose,
    .flops = NoFlops,
};

}  // namespace ostria
