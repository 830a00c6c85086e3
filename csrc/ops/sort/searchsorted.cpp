// SPDX-License-Identifier: Apache-2.0
#include "ops/common/sort.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"x"}, {"values"}};
constexpr AttrDef kAttrs[] = {{"side", AttrType::kString, "\"left\""}};

void Infer(InferContext& c) {
  RequireRank(c, 0, 1, "sorted elements");
  RequireSameDType(c, 0, 1);
  const std::string& side = c.attr<std::string>(SearchAttr::kSide);
  if (side != "left" && side != "right") {
    c.Fail("side is '", side, "'; accepted are 'left' and 'right'");
  }
  c.Out(DType::kInt64, c.shape(1));
}

double Flops(std::span<const ValueType> in, std::span<const ValueType>, std::span<const Attr>) {
  return static_cast<double>(in[1].shape.numel()) * ComparisonsEach(in[0].shape.numel() + 1);
}

}  // namespace

constinit const OpDef ops::kSearchsorted = {
    .name = "searchsorted",
    .doc =
        "Where elements belong among sorted ones: the int64 position before which each would be "
        "inserted, or the number of the bucket between borders x.\n"
        "x: a vector in ascending order, NaN last.\n"
        "values: of any shape, that of the result.\n"
        "side: 'left' of elements that are equal, x[i - 1] < v <= x[i], or 'right' of them.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.smooth = false},
    .infer = Infer,
    .grad = NoGrad("the result is an integer"),
    .on_empty = OnEmpty::kZero,
    .flops = Flops,
};

}  // namespace ostria
