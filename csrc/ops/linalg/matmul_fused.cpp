// SPDX-License-Identifier: Apache-2.0
// matmul_fused: a product that ends in an epilogue (ops/common/epilogue.h): a bias and an
// activation, which 16-bit operands may give in float32, with what the activation's gradient reads;
// the gradient of one; sums that are the gradient of a bias. Passes make it after differentiation,
// so it has no gradient of its own.
#include "ops/common/attr_index.h"
#include "ops/common/build.h"
#include "ops/common/epilogue.h"
#include "ops/common/infer.h"
#include "ops/common/matmul.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {
namespace {

using ops::EpilogueDef;
using ops::EpilogueOperand;
using ops::EpilogueResult;
using ops::MatmulAttr;

constexpr InputDef kInputs[] = {{"a"}, {"b"}, {"extra", Arity::kOptional, false}};
constexpr OutputDef kOutputs[] = {{"y", Arity::kVariadic}};
constexpr AttrDef kAttrs[] = {{"transpose_a", AttrType::kBool, "false"},
                              {"transpose_b", AttrType::kBool, "false"},
                              {"epilogue", AttrType::kString, "\"none\""},
                              {"widen", AttrType::kBool, "false"}};

Shape MaskShape(Shape y) {
  const int last = y.rank() - 1;
  y[last] = ops::MaskBytes(y[last].value());
  return y;
}

void CheckExtra(InferContext& c, const EpilogueDef& e, const Shape& y) {
  const Dim n = y[y.rank() - 1];
  if (e.third == EpilogueOperand::kNothing) {
    if (c.size() == 3) c.Fail("epilogue '", e.name, "' takes no third input");
    return;
  }
  if (e.third != EpilogueOperand::kMask && c.size() == 3) ops::RequireSameDType(c, 0, 2);
  if (e.third == EpilogueOperand::kBias) {
    if (c.size() == 3 && (c.shape(2).rank() != 1 || !(c.shape(2)[0] == n))) {
      c.Fail("the bias must have shape [", n, "], one value per column of the result ", y,
             ", but has shape ", c.shape(2));
    }
    return;
  }
  const bool mask = e.third == EpilogueOperand::kMask;
  const Shape want = mask ? MaskShape(y) : y;
  if (c.size() != 3 || !(c.shape(2) == want) || (mask && c.dtype(2) != DType::kUInt8)) {
    c.Fail("epilogue '", e.name, "' needs, as third input, ",
           mask ? "relu's mask of uint8" : "what the activation was of", " in shape ", want);
  }
}

void Infer(InferContext& c) {
  ops::RequireFloat(c, 0);
  const Shape y = ops::InferProduct(c);
  const EpilogueDef& e = ops::DefOf(ops::RequireEpilogue(c, MatmulAttr::kEpilogue));
  const bool uses_mask = e.third == EpilogueOperand::kMask || e.second == EpilogueResult::kMask;
  if (uses_mask && !y[y.rank() - 1].is_static()) {
    c.Fail("epilogue '", e.name, "' needs a result whose rows have a known length, not ", y);
  }
  CheckExtra(c, e, y);
  const bool widens = c.attr<bool>(MatmulAttr::kWiden);
  if (widens && c.dtype(0) == DType::kFloat64) {
    c.Fail("widen gives float32, which is no wider than 'a' of ", c.dtype(0), "; leave it out");
  }
  const bool sums = e.second == EpilogueResult::kSumOfA || e.second == EpilogueResult::kSumOfB;
  if (widens && !e.is_simple() && !sums) c.Fail("epilogue '", e.name, "' does not widen");
  if (sums && (c.shape(0).rank() != 2 || c.shape(1).rank() != 2)) {
    c.Fail("epilogue '", e.name, "' is for one product of two matrices, not for shapes ",
           c.shape(0), " and ", c.shape(1));
  }
  const DType dtype = widens ? DType::kFloat32 : c.dtype(0);
  c.Out(dtype, y);
  switch (e.second) {
    case EpilogueResult::kNothing: break;
    case EpilogueResult::kMask: c.Out(DType::kUInt8, MaskShape(y)); break;
    case EpilogueResult::kPreactivation: c.Out(dtype, y); break;
    case EpilogueResult::kSumOfA: c.Out(dtype, {y[0]}); break;
    case EpilogueResult::kSumOfRows:
    case EpilogueResult::kSumOfB: c.Out(dtype, {y[y.rank() - 1]}); break;
  }
}

Value SumOver(Builder& b, Value v, std::vector<int64_t> axes) {
  return b(ops::kSum, {v}, {std::move(axes), false});
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (ops::HasHalf(b, in)) return ops::ViaFloat32(b, ops::kMatmulFused, in, attrs);
  ops::Epilogue epilogue = ops::Epilogue::kNone;
  ops::ParseEpilogue(std::get<std::string>(attrs[MatmulAttr::kEpilogue]), &epilogue);
  const EpilogueDef& e = ops::DefOf(epilogue);
  Value y = b(ops::kMatmul, in.first(2), {attrs.begin(), attrs.begin() + 2}), z = y;
  if (e.third == EpilogueOperand::kMask) {
    y = ops::ApplyMask(b, y, in[2]);
  } else if (e.third == EpilogueOperand::kPreactivation) {
    y = b(ops::kGeluGrad, {y, in[2]}, {true});
  } else {
    if (in.size() == 3) z = b(ops::kAdd, {y, in[2]});
    y = ops::Apply(b, e.activation, z);
  }
  switch (e.second) {
    case EpilogueResult::kNothing: break;
    case EpilogueResult::kMask: return {y, ops::PackMask(b, z)};
    case EpilogueResult::kPreactivation: return {y, z};
    case EpilogueResult::kSumOfRows: {
      std::vector<int64_t> axes;
      for (int i = 0; i + 1 < b.shape(y).rank(); ++i) axes.push_back(i);
      return {y, SumOver(b, y, axes)};
    }
    case EpilogueResult::kSumOfA:
      return {y, SumOver(b, in[0], {std::get<bool>(attrs[MatmulAttr::kTransposeA]) ? 0 : 1})};
    case EpilogueResult::kSumOfB:
      return {y, SumOver(b, in[1], {std::get<bool>(attrs[MatmulAttr::kTransposeB]) ? 1 : 0})};
  }
  return {y};
}

}  // namespace

constinit const OpDef ops::kMatmulFused = {
    .name = "matmul_fused",
    .doc =
        "A matrix product that ends in an epilogue; made by fusion passes.\n"
        "transpose_a: as for matmul.\n"
        "transpose_b: as for matmul.\n"
        "epilogue: none, relu, tanh, sigmoid, gelu, gelu_tanh or silu: that of the product plus "
        "bias [n], which is optional; relu_mask: relu, and as second result a bit for each element "
        "that says whether it is positive; gelu_tanh_kept: gelu_tanh, and what it is of; "
        "relu_grad, gelu_tanh_grad: the product times the activation's derivative, where the third "
        "input is that second result; relu_grad_sum, gelu_tanh_grad_sum: the same, and its sum "
        "over all rows; sum_a, sum_b: the product, and the sum of a or b over its inner index.\n"
        "widen: results in float32, as products of 16-bit operands are summed.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = {.internal = true, .amp = Amp::kLow},
    .infer = Infer,
    .grad = NoGrad("it is made after differentiation"),
    .decompose = Decompose,
};

}  // namespace ostria
