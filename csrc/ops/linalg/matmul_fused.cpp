// SPDX-License-Identifier: Apache-2.0
// matmul_fused: activation(a b + bias) in one pass over the result, which 16-bit operands may give
// in float32, and with what the activation was of, which its gradient reads; or the product times
// the derivative of an activation. A pass makes it from matmul, add, an activation and a cast, or
// an activation's gradient, after differentiation, so it has no gradient of its own.
#include "ops/common/activation.h"
#include "ops/common/attr_index.h"
#include "ops/common/infer.h"
#include "ops/common/matmul.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {
namespace {

constexpr InputDef kInputs[] = {{"a"}, {"b"}, {"bias", Arity::kOptional}};
constexpr OutputDef kOutputs[] = {{"y", Arity::kVariadic}};
constexpr AttrDef kAttrs[] = {{"transpose_a", AttrType::kBool, "false"},
                              {"transpose_b", AttrType::kBool, "false"},
                              {"activation", AttrType::kString, "\"none\""},
                              {"widen", AttrType::kBool, "false"}};

void Infer(InferContext& c) {
  ops::RequireFloat(c, 0);
  const Shape shape = ops::InferProduct(c);
  ops::Activation of;
  const bool gradient =
      ops::ParseActivationGrad(c.attr<std::string>(ops::MatmulAttr::kActivation), &of);
  if (c.size() == 3) ops::RequireSameDType(c, 0, 2);
  if (gradient) {
    if (c.size() != 3 || !(c.shape(2) == shape) || c.attr<bool>(ops::MatmulAttr::kWiden)) {
      c.Fail("a gradient needs, as third input, what the activation was of, in the result's shape ",
             shape, ", and does not widen");
    }
    c.Out(c.dtype(0), shape);
    return;
  }
  if (c.size() == 3) {
    const Dim n = shape[shape.rank() - 1];
    if (c.shape(2).rank() != 1 || !(c.shape(2)[0] == n)) {
      c.Fail("'bias' must have shape [", n, "], one value per column of the result ", shape,
             ", but has shape ", c.shape(2));
    }
  }
  const bool kept =
      ops::ParseActivationKept(c.attr<std::string>(ops::MatmulAttr::kActivation), &of);
  if (!kept) ops::RequireActivation(c, ops::MatmulAttr::kActivation);
  const bool widens = c.attr<bool>(ops::MatmulAttr::kWiden);
  if (widens && c.dtype(0) == DType::kFloat64) {
    c.Fail("widen gives float32, which is no wider than 'a' of ", c.dtype(0), "; leave it out");
  }
  if (widens && kept) c.Fail("what an activation was of is kept in the operands' dtype: no widen");
  c.Out(widens ? DType::kFloat32 : c.dtype(0), shape);
  if (kept) c.Out(c.dtype(0), shape);
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> inputs,
                             std::span<const Attr> attrs) {
  if (ops::HasHalf(b, inputs)) return ops::ViaFloat32(b, ops::kMatmulFused, inputs, attrs);
  Value y = b(ops::kMatmul, inputs.first(2), {attrs.begin(), attrs.begin() + 2});
  ops::Activation of;
  if (ops::ParseActivationGrad(std::get<std::string>(attrs[ops::MatmulAttr::kActivation]), &of)) {
    return {ops::ApplyGrad(b, of, y, inputs[2])};
  }
  if (inputs.size() == 3) y = b(ops::kAdd, {y, inputs[2]});
  if (ops::ParseActivationKept(std::get<std::string>(attrs[ops::MatmulAttr::kActivation]), &of)) {
    return {ops::Apply(b, of, y), y};
  }
  ops::Activation activation = ops::Activation::kNone;
  ops::ParseActivation(std::get<std::string>(attrs[ops::MatmulAttr::kActivation]), &activation);
  return {ops::Apply(b, activation, y)};
}

}  // namespace

constinit const OpDef ops::kMatmulFused = {
    .name = "matmul_fused",
    .doc =
        "activation(matmul(a, b) + bias) with bias [n] optional; made by the fusion pass.\n"
        "transpose_a: as for matmul.\n"
        "transpose_b: as for matmul.\n"
        "activation: none, relu, tanh, sigmoid, gelu, gelu_tanh or silu; gelu_tanh_kept: "
        "the sum before it as a second result; or gelu_tanh_grad: the product times gelu's "
        "derivative at the third input, which is of the result's shape.\n"
        "widen: a result in float32, as products of 16-bit operands are summed.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = {.internal = true, .amp = Amp::kLow},
    .infer = Infer,
    .grad = NoGrad("it is made after differentiation"),
    .decompose = Decompose,
};

}  // namespace ostria
