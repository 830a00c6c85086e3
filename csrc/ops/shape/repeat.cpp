// SPDX-License-Identifier: Apache-2.0
#include "ops/common/rearrange.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kRepeats, kAxis };
constexpr InputDef kInputs[] = {{"x"}};
constexpr AttrDef kAttrs[] = {{"repeats", AttrType::kInt}, {"axis", AttrType::kInt, "0"}};

void Infer(InferContext& c) {
  const int64_t times = c.attr<int64_t>(kRepeats);
  RequireTimes(c, times);
  Shape out = c.shape(0);
  const int axis = NormalizeAxis(c, c.attr<int64_t>(kAxis), out);
  out[axis] = out[axis] * Dim(times);
  c.Out(c.dtype(0), out);
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  const int axis = Axis(std::get<int64_t>(attrs[kAxis]), b.shape(in[0]).rank());
  return {RepeatBlocks(b, in[0], axis, axis + 1, std::get<int64_t>(attrs[kRepeats]))};
}

}  // namespace

constinit const OpDef ops::kRepeat = {
    .name = "repeat",
    .doc =
        "x with each element along an axis repeated, all as often.\n"
        "repeats: how often, 0 or more.\n"
        "axis: the axis.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .infer = Infer,
    .grad = NoGrad("it is differentiated through its decomposition"),
    .decompose = Decompose,
    .flops = NoFlops,
};

}  // namespace ostria
