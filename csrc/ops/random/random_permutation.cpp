// SPDX-License-Identifier: Apache-2.0
#include "ops/common/random.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kN, kStream };
constexpr InputDef kInputs[] = {{"key", Arity::kOne, false}};
constexpr AttrDef kAttrs[] = {{"n", AttrType::kInt}, {"stream", AttrType::kInt, "0"}};

void Infer(InferContext& c) {
  RequireKey(c, 0);
  const int64_t n = c.attr<int64_t>(kN);
  if (n < 0) c.Fail("n is ", n, "; it is how many numbers to permute and must not be negative");
  c.Out(DType::kInt64, {n});
}

}  // namespace

constinit const OpDef ops::kRandomPermutation = {
    .name = "random_permutation",
    .doc =
        "0..n-1 in random order, every order equally likely; int64[n].\n"
        "n: how many.\n"
        "stream: which draw of the program this is.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .infer = Infer,
    .grad = NoGrad("the result is integer"),
    .flops = DrawFlops,
};

}  // namespace ostria
