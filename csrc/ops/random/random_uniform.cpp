// SPDX-License-Identifier: Apache-2.0
#include "ops/common/random.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"key", Arity::kOne, false}, {"offset", Arity::kOne, false}};
constexpr AttrDef kAttrs[] = {{"shape", AttrType::kShape},
                              {"dtype", AttrType::kDType, "float32"},
                              {"low", AttrType::kFloat, "0"},
                              {"high", AttrType::kFloat, "1"},
                              {"stream", AttrType::kInt, "0"}};

void Infer(InferContext& c) {
  const double a = c.attr<double>(RandomAttr::kA), b = c.attr<double>(RandomAttr::kB);
  if (!(a <= b)) c.Fail("low is ", a, " and high ", b, "; low must not exceed high");
  InferDraw(c);
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  return DecomposeDraw(b, kRandomUniform, in, attrs);
}

}  // namespace

constinit const OpDef ops::kRandomUniform = {
    .name = "random_uniform",
    .doc =
        "Numbers drawn evenly from low (included) to high (excluded).\n"
        "shape: the result's shape; the first axis is the batch that offset counts along.\n"
        "dtype: float16, bfloat16, float32 or float64.\n"
        "low: the least number.\n"
        "high: the bound that is not reached.\n"
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
