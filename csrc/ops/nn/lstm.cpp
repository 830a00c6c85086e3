// SPDX-License-Identifier: Apache-2.0
// gates (after their activations) and cells are what the gradient wants to know; layers use the
// other outputs.
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

enum Input { kX, kKernel, kRecurrent, kBias, kH, kC, kLengths };
enum Output { kY, kLastH, kLastC, kGatesOut, kCells };
constexpr InputDef kInputs[] = {{"x"},
                                {"kernel"},
                                {"recurrent_kernel"},
                                {"bias"},
                                {"h"},
                                {"c"},
                                {"lengths", Arity::kOptional, false}};
constexpr AttrDef kAttrs[] = {{"reverse", AttrType::kBool, "false"}};
constexpr OutputDef kOutputs[] = {{"y"}, {"last_h"}, {"last_c"}, {"gates"}, {"cells"}};

void Infer(InferContext& c) {
  const auto [batch, time, units] = InferRecurrent(c, kX, 4);
  RequireShape(c, kBias, {units * 4});
  for (int i : {kH, kC}) RequireShape(c, i, {batch, units});
  RequireLengths(c, kLengths, batch);
  c.Out(c.dtype(0), {batch, time, units});
  c.Out(c.dtype(0), {batch, units});
  c.Out(c.dtype(0), {batch, units});
  c.Out(c.dtype(0), {batch, time, units * 4});
  c.Out(c.dtype(0), {batch, time, units});
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, ops::kLstm, in, attrs);
  Steps steps(b, in[kX], std::get<bool>(attrs[RecurrentAttr::kReverse]),
              in.size() > kLengths ? in[kLengths] : Value{});
  const Value pre = b(kAdd, {Product(b, in[kX], in[kKernel]), in[kBias]});
  const auto out = steps.Run(
      {in[kRecurrent]}, std::array{in[kH], in[kC]}, std::array{pre}, false,
      [](const Steps::Step& s) -> ScanReturns {
        Builder& b = s.b;
        const Value h = s.states[0], c = s.states[1];
        const auto z = SplitGates(b, b(kAdd, {s.rows[0], Product(b, h, s.captures[0])}), 4);
        const Value input = b(kSigmoid, {z[0]}), forget = b(kSigmoid, {z[1]}),
                    candidate = b(kTanh, {z[2]}), output = b(kSigmoid, {z[3]});
        const Value next_c = b(kAdd, {b(kMultiply, {forget, c}), b(kMultiply, {input, candidate})});
        const Value next_h = b(kMultiply, {output, b(kTanh, {next_c})});
        const Value gates = Join(b, std::array{input, forget, candidate, output}, 1);
        return {{s.Choose(next_h, h), s.Choose(next_c, c)},
                {s.OrZero(next_h), s.OrZero(gates), s.OrZero(next_c)}};
      });
  return {out[2], out[0], out[1], out[3], out[4]};
}

void Grad(GradContext& c) {
  // Only second derivatives come to gates and cells.
  if (c.HasCotangent(kGatesOut) || c.HasCotangent(kCells)) return c.ThroughDecomposition();
  std::vector<Value> in = {c.cotangent(kY),  c.cotangent(kLastH), c.cotangent(kLastC), c.input(kX),
                           c.input(kKernel), c.input(kRecurrent), c.input(kH),         c.input(kC),
                           c.output(kY),     c.output(kGatesOut), c.output(kCells)};
  if (c.size() > kLengths) in.push_back(c.input(kLengths));
  const auto d = c.b.Multi(kLstmGrad, in, {c.attr<bool>(RecurrentAttr::kReverse)});
  for (int i = 0; i < kLengths; ++i) c.Set(i, d[i]);
}

}  // namespace

constinit const OpDef ops::kLstm = {
    .name = "lstm",
    .doc =
        "Long short-term memory (Hochreiter, Schmidhuber 1997; forget gate: Gers 2000) over x\n"
        "[batch, time, features], from the states h and c [batch, units]:\n"
        "c' = f c + i tanh(z_c) and h' = o tanh(c') with i, f, o = sigmoid(z_i), sigmoid(z_f), "
        "sigmoid(z_o)\n"
        "and z = x kernel + h recurrent_kernel + bias, gates side by side in the order i, f, c, "
        "o.\n"
        "Gives y, the states h' of all steps, the last h and c, and, for the gradient, gates and "
        "cells.\n"
        "lengths: int32 or int64 [batch], the steps that a row has. From its length on a row's "
        "states\n"
        "stay as they are and its outputs are zero; a length outside of 0..time is clamped to it.\n"
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
