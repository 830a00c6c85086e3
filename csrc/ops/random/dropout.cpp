// SPDX-License-Identifier: Apache-2.0
// Nothing is kept for the gradient: the same key, stream and offset draw the same mask again.
#include "ir/grad_context.h"
#include "ops/common/random.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"x"}, {"key", Arity::kOne, false}, {"offset", Arity::kOne, false}};
constexpr AttrDef kAttrs[] = {{"rate", AttrType::kFloat}, {"stream", AttrType::kInt, "0"}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  RequireKey(c, 1);
  const double rate = c.attr<double>(DropoutAttr::kRate);
  if (!(rate >= 0 && rate < 1)) {
    c.Fail("rate is ", rate, "; it is the share of elements to drop and must be in [0, 1)");
  }
  c.Out(c.input(0));
}

void Grad(GradContext& c) {
  const double rate = c.attr<double>(DropoutAttr::kRate);
  const int64_t stream = c.attr<int64_t>(DropoutAttr::kStream);
  c.Set(0, c.b(kDropout, {c.cotangent(), c.input(1), c.input(2)}, {rate, stream}));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (!HasHalf(b, in)) FailNoSimplerOps(kDropout);
  return ViaFloat32(b, kDropout, in, attrs);
}

// A draw, a comparison and a product per element.
double Flops(std::span<const ValueType>, std::span<const ValueType> out, std::span<const Attr>) {
  return 3.0 * static_cast<double>(out[0].shape.numel());
}

}  // namespace

constinit const OpDef ops::kDropout = {
    .name = "dropout",
    .doc =
        "x with a random share of its elements set to zero and the others divided by 1 - rate.\n"
        "rate: the share that is dropped, in [0, 1).\n"
        "stream: which draw of the program this is.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.loop = true},
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
    .flops = Flops,
};

}  // namespace ostria
