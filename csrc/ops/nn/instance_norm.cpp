// SPDX-License-Identifier: Apache-2.0
#include "ops/common/attr_index.h"
#include "ops/common/norm.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"x"}, {"scale"}, {"bias"}};
constexpr AttrDef kAttrs[] = {{"epsilon", AttrType::kFloat, "0.001"}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  const Shape channels = InferChannels(c, 0);
  if (!channels.is_static()) c.Fail("the number of channels of x ", c.shape(0), " must be fixed");
  for (int i : {1, 2}) RequireChannels(c, i, channels);
  RequireEpsilon(c, NormAttr::kEpsilon);
  c.Out(c.input(0));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  const int64_t channels = b.shape(in[1])[0].value();
  return {b(kGroupNorm, in, {attrs[NormAttr::kEpsilon], channels})};
}

}  // namespace

constinit const OpDef ops::kInstanceNorm = {
    .name = "instance_norm",
    .doc =
        "x [n, ..., channels] with every channel of each example normalised by itself:\n"
        "group_norm with as many groups as channels (Ulyanov et al. 2016).\n"
        "epsilon: added to the variance.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.amp = Amp::kFp32},
    .infer = Infer,
    .grad = NoGrad("it is differentiated through its decomposition"),
    .decompose = Decompose,
    .on_empty = OnEmpty::kZero,
};

}  // namespace ostria
