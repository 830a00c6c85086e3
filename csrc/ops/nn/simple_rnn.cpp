// SPDX-License-Identifier: Apache-2.0
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
constexpr InputDef kInputs[] = {{"x"},    {"kernel"}, {"recurrent_kernel"},
                                {"bias"}, {"h"},      {"lengths", Arity::kOptional, false}};
constexpr AttrDef kAttrs[] = {{"reverse", AttrType::kBool, "false"},
                              {"activation", AttrType::kString, "\"tanh\""}};
constexpr OutputDef kOutputs[] = {{"y"}, {"last_h"}};

void Infer(InferContext& c) {
  const auto [batch, time, units] = InferRecurrent(c, kX, 1);
  RequireShape(c, kBias, {units});
  RequireShape(c, kH, {batch, units});
  RequireLengths(c, kLengths, batch);
  const auto& activation = c.attr<std::string>(RecurrentAttr::kActivation);
  if (activation != "tanh" && activation != "relu") {
    c.Fail("activation '", activation, "' is not known; accepted are 'tanh' and 'relu'");
  }
  c.Out(c.dtype(0), {batch, time, units});
  c.Out(c.dtype(0), {batch, units});
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, ops::kSimpleRnn, in, attrs);
  Steps steps(b, in[kX], std::get<bool>(attrs[RecurrentAttr::kReverse]),
              in.size() > kLengths ? in[kLengths] : Value{});
  const bool relu = std::get<std::string>(attrs[RecurrentAttr::kActivation]) == "relu";
  const Value pre = b(kAdd, {Product(b, in[kX], in[kKernel]), in[kBias]});
  const auto out =
      steps.Run({in[kRecurrent]}, std::array{in[kH]}, std::array{pre}, false,
                [&](const Steps::Step& s) -> ScanReturns {
                  const Value h = s.states[0];
                  const Value z = s.b(kAdd, {s.rows[0], Product(s.b, h, s.captures[0])});
                  const Value next = relu ? s.b(kRelu, {z}) : s.b(kTanh, {z});
                  return {{s.Choose(next, h)}, {s.OrZero(next)}};
                });
  return {out[1], out[0]};
}

void Grad(GradContext& c) {
  std::vector<Value> in = {c.cotangent(0),      c.cotangent(1), c.input(kX), c.input(kKernel),
                           c.input(kRecurrent), c.input(kH),    c.output(0)};
  if (c.size() > kLengths) in.push_back(c.input(kLengths));
  const auto d = c.b.Multi(
      kSimpleRnnGrad, in,
      {c.attr<bool>(RecurrentAttr::kReverse), c.attr<std::string>(RecurrentAttr::kActivation)});
  for (int i = 0; i < kLengths; ++i) c.Set(i, d[i]);
}

}  // namespace

constinit const OpDef ops::kSimpleRnn = {
    .name = "simple_rnn",
    .doc =
        "The recurrence h' = activation(x kernel + h recurrent_kernel + bias) (Elman 1990) over x\n"
        "[batch, time, features], from the state h [batch, units].\n"
        "Gives y, the states h' of all steps, and the last h.\n"
        "lengths: int32 or int64 [batch], the steps that a row has. From its length on a row's "
        "state\n"
        "stays as it is and its outputs are zero; a length outside of 0..time is clamped to it.\n"
        "reverse: steps are taken from the last to the first; y stays in the order of x.\n"
        "activation: \"tanh\" or \"relu\".",
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
