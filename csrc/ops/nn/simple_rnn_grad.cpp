// SPDX-License-Identifier: Apache-2.0
// Back-propagation through time. y is what simple_rnn gave.
#include <array>

#include "ops/common/attr_index.h"
#include "ops/common/build.h"
#include "ops/common/recurrent.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Input { kDy, kDLastH, kX, kKernel, kRecurrent, kH, kY, kLengths };
constexpr InputDef kInputs[] = {{"dy"},
                                {"dlast_h"},
                                {"x"},
                                {"kernel"},
                                {"recurrent_kernel"},
                                {"h"},
                                {"y"},
                                {"lengths", Arity::kOptional, false}};
constexpr AttrDef kAttrs[] = {{"reverse", AttrType::kBool, "false"},
                              {"activation", AttrType::kString, "\"tanh\""}};
constexpr OutputDef kOutputs[] = {{"dx"}, {"dkernel"}, {"drecurrent_kernel"}, {"dbias"}, {"dh"}};

void Infer(InferContext& c) {
  const auto [batch, time, units] = InferRecurrent(c, kX, 1);
  for (int i : {kDy, kY}) RequireShape(c, i, {batch, time, units});
  for (int i : {kDLastH, kH}) RequireShape(c, i, {batch, units});
  RequireLengths(c, kLengths, batch);
  for (int i : {kX, kKernel, kRecurrent}) c.Out(c.input(i));
  c.Out(c.dtype(0), {units});
  c.Out(c.input(kH));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, ops::kSimpleRnnGrad, in, attrs);
  Steps steps(b, in[kX], std::get<bool>(attrs[RecurrentAttr::kReverse]),
              in.size() > kLengths ? in[kLengths] : Value{});
  const bool relu = std::get<std::string>(attrs[RecurrentAttr::kActivation]) == "relu";
  const auto out =
      steps.Run({in[kRecurrent]}, std::array{in[kDLastH]}, std::array{in[kDy], in[kY]}, true,
                [&](const Steps::Step& s) -> ScanReturns {
                  const Value dh = s.states[0], g = s.b(kAdd, {dh, s.rows[0]}), y = s.rows[1];
                  const Value dz = s.OrZero(relu ? s.b(kReluGrad, {g, y}) : TanhSlope(s.b, g, y));
                  return {{s.Choose(Product(s.b, dz, s.captures[0], false, true), dh)}, {dz}};
                });
  const Value dz = out[1];
  return {Product(b, dz, in[kKernel], false, true), SequenceProduct(b, in[kX], dz),
          SequenceProduct(b, steps.Before(in[kY], in[kH]), dz), SequenceSum(b, dz), out[0]};
}

}  // namespace

constinit const OpDef ops::kSimpleRnnGrad = {
    .name = "simple_rnn_grad",
    .doc =
        "The gradients of simple_rnn with respect to its inputs.\n"
        "lengths: as for simple_rnn.\n"
        "reverse: as for simple_rnn.\n"
        "activation: as for simple_rnn.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = {.internal = true, .amp = Amp::kFp32},
    .infer = Infer,
    .grad = NoGrad("it is differentiated through its decomposition"),
    .decompose = Decompose,
    .on_empty = OnEmpty::kZero,
};

}  // namespace ostria
