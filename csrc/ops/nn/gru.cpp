// SPDX-License-Identifier: Apache-2.0
// gates (z, r, the candidate, and what r multiplies) are what the gradient wants to know.
#include <array>

#include "ir/grad_context.h"
#include "ops/common/attr_index.h"
#include "ops/common/build.h"
#include "ops/common/recurrent.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Input { kX, kKernel, kRecurrent, kBias, kH, kLengths };
enum Output { kY, kLastH, kGatesOut };
constexpr InputDef kInputs[] = {{"x"},    {"kernel"}, {"recurrent_kernel"},
                                {"bias"}, {"h"},      {"lengths", Arity::kOptional, false}};
constexpr AttrDef kAttrs[] = {{"reverse", AttrType::kBool, "false"}};
constexpr OutputDef kOutputs[] = {{"y"}, {"last_h"}, {"gates"}};

void Infer(InferContext& c) {
  const auto [batch, time, units] = InferRecurrent(c, kX, 3);
  RequireShape(c, kBias, {2, units * 3});
  RequireShape(c, kH, {batch, units});
  RequireLengths(c, kLengths, batch);
  c.Out(c.dtype(0), {batch, time, units});
  c.Out(c.dtype(0), {batch, units});
  c.Out(c.dtype(0), {batch, time, units * 4});
}

Value BiasRow(Builder& b, Value bias, int64_t row) {
  const Value one = b(kSliceAt, {bias}, {int64_t{0}, Shape{row}, Shape{1}});
  return Reshape(b, one, {b.shape(bias)[1]});
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, ops::kGru, in, attrs);
  Steps steps(b, in[kX], std::get<bool>(attrs[RecurrentAttr::kReverse]),
              in.size() > kLengths ? in[kLengths] : Value{});
  const Value pre = b(kAdd, {Product(b, in[kX], in[kKernel]), BiasRow(b, in[kBias], 0)});
  const Value bias = BiasRow(b, in[kBias], 1);
  const auto out = steps.Run(
      {in[kRecurrent], bias}, std::array{in[kH]}, std::array{pre}, false,
      [](const Steps::Step& s) -> ScanReturns {
        Builder& b = s.b;
        const Value h = s.states[0];
        const auto x = SplitGates(b, s.rows[0], 3);
        const auto u = SplitGates(b, b(kAdd, {Product(b, h, s.captures[0]), s.captures[1]}), 3);
        const Value z = b(kSigmoid, {b(kAdd, {x[0], u[0]})});
        const Value r = b(kSigmoid, {b(kAdd, {x[1], u[1]})});
        const Value candidate = b(kTanh, {b(kAdd, {x[2], b(kMultiply, {r, u[2]})})});
        const Value next = b(kAdd, {candidate, b(kMultiply, {z, b(kSubtract, {h, candidate})})});
        const Value gates = Join(b, std::array{z, r, candidate, u[2]}, 1);
        return {{s.Choose(next, h)}, {s.OrZero(next), s.OrZero(gates)}};
      });
  return {out[1], out[0], out[2]};
}

void Grad(GradContext& c) {
  if (c.HasCotangent(kGatesOut)) return c.ThroughDecomposition();  // second derivatives
  std::vector<Value> in = {c.cotangent(kY),  c.cotangent(kLastH), c.input(kX),
                           c.input(kKernel), c.input(kRecurrent), c.input(kH),
                           c.output(kY),     c.output(kGatesOut)};
  if (c.size() > kLengths) in.push_back(c.input(kLengths));
  const auto d = c.b.Multi(kGruGrad, in, {c.attr<bool>(RecurrentAttr::kReverse)});
  for (int i = 0; i < kLengths; ++i) c.Set(i, d[i]);
}

}  // namespace

constinit const OpDef ops::kGru = {
    .name = "gru",
    .doc =
        "Gated recurrent units (Cho et al. 2014, with the reset gate after the product, as "
        "Keras's\n"
        "reset_after=True and cuDNN) over x [batch, time, features], from the state h [batch, "
        "units]:\n"
        "h' = z h + (1 - z) tanh(x_h + r s_h) with z = sigmoid(x_z + s_z), r = sigmoid(x_r + "
        "s_r),\n"
        "x = x kernel + bias[0] and s = h recurrent_kernel + bias[1], gates in the order z, r, h.\n"
        "Gives y, the states h' of all steps, the last h, and, for the gradient, gates.\n"
        "lengths: int32 or int64 [batch], the steps that a row has. From its length on a row's "
        "state\n"
        "stays as it is and its outputs are zero; a length outside of 0..time is clamped to it.\n"
        "reverse: steps are taken from the last to the first; y stays in the order of x.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = {.amp = Amp::kFp32},
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
    .on_empty = OnEmpty::kZero,
};

}  // namespace ostria
