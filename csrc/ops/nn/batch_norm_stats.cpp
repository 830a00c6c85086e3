// SPDX-License-Identifier: Apache-2.0
// The first half of batch_norm, for devices where the second is part of the loops that read it.
#include "ops/common/build.h"
#include "ops/common/norm.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"x"}};
constexpr OutputDef kOutputs[] = {{"mean"}, {"var"}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  const Shape channels = InferChannels(c, 0);
  const DType dtype = SizeOf(c.dtype(0)) == 2 ? DType::kFloat32 : c.dtype(0);
  c.Out(dtype, channels);
  c.Out(dtype, channels);
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kBatchNormStats, in, attrs);
  const std::vector<int64_t> axes = LeadingAxes(b, in[0]).first;
  const Value mean = b(kMean, {in[0]}, {axes, false});
  const Value centered = b(kSubtract, {in[0], mean});
  return {mean, b(kMean, {b(kSquare, {centered})}, {axes, false})};
}

}  // namespace

constinit const OpDef ops::kBatchNormStats = {
    .name = "batch_norm_stats",
    .doc =
        "The mean and (biased) variance of x over all axes but the last, as batch_norm gives "
        "them;\n"
        "float32 where x has 16 bits. A pass makes it of batch_norm.",
    .inputs = kInputs,
    .outputs = kOutputs,
    .traits = {.internal = true, .amp = Amp::kFp32},
    .infer = Infer,
    .grad = NoGrad("it is made after differentiation"),
    .decompose = Decompose,
    .on_empty = OnEmpty::kZero,
};

}  // namespace ostria
