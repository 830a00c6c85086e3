// SPDX-License-Identifier: Apache-2.0
// One multiply and one add per element with per-channel numbers: nothing that needs a kernel of its
// own.
#include "ops/common/attr_index.h"
#include "ops/common/build.h"
#include "ops/common/norm.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"x"}, {"scale"}, {"bias"}, {"mean"}, {"var"}};
constexpr AttrDef kAttrs[] = {{"epsilon", AttrType::kFloat, "0.001"}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  const Shape channels = InferChannels(c, 0);
  RequireParameters(c, 1, channels);
  RequireEpsilon(c, NormAttr::kEpsilon);
  c.Out(c.input(0));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kBatchNormInference, in, attrs);
  const Value rstd = b(kRsqrt, {Plus(b, in[4], std::get<double>(attrs[NormAttr::kEpsilon]))});
  const Value factor = b(kMultiply, {in[1], rstd});
  const Value shift = b(kSubtract, {in[2], b(kMultiply, {in[3], factor})});
  return {b(kAdd, {b(kMultiply, {in[0], factor}), shift})};
}

}  // namespace

constinit const OpDef ops::kBatchNormInference = {
    .name = "batch_norm_inference",
    .doc =
        "(x - mean) / sqrt(var + epsilon) * scale + bias with given statistics per channel (last "
        "axis).\n"
        "epsilon: added to the variance.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.loop = true, .amp = Amp::kFp32},
    .infer = Infer,
    .grad = NoGrad("it is differentiated through its decomposition"),
    .decompose = Decompose,
};

}  // namespace ostria
