// SPDX-License-Identifier: Apache-2.0
#include "ops/common/random.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"key", Arity::kOne, false}, {"offset", Arity::kOne, false}};
constexpr AttrDef kAttrs[] = {{"shape", AttrType::kShape},
                              {"dtype", AttrType::kDType, "float32"},
                              {"mean", AttrType::kFloat, "0"},
                              {"stddev", AttrType::kFloat, "1"},
                              {"stream", AttrType::kInt, "0"}};

void Infer(InferContext& c) {
  const double a = c.attr<double>(RandomAttr::kA), b = c.attr<double>(RandomAttr::kB);
  if (!(b >= 0) || a != a)
    c.Fail("mean is ", a, " and stddev ", b, "; stddev must not be negative");
  InferDraw(c);
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  return DecomposeDraw(b, kTruncatedNormal, in, attrs);
}

}  // namespace

constinit const OpDef ops::kTruncatedNormal = {
    .name = "truncated_normal",
    .doc =
        "Numbers drawn from a normal distribution, restricted to two standard deviations around "
        "the mean.\n"
        "shape: the result's shape; the first axis is the batch that offset counts along.\n"
        "dtype: float16, bfloat16, float32 or float64.\n"
        "mean: its mean.\n"
        "stddev: its standard deviation before the restriction.\n"
        "stream: which draw of the program this is.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .infer = Infer,
    .grad = NoGrad("the numbers do not depend on anything differentiable"),
    .decompose = Decompose,
    .flops = DrawFlops,
};

}  // namespace ostria
