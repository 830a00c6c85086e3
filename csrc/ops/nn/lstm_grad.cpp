// SPDX-License-Identifier: Apache-2.0
// Back-propagation through time. gates, cells and y are what lstm gave.
#include <array>

#include "ops/common/attr_index.h"
#include "ops/common/build.h"
#include "ops/common/recurrent.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Input {
  kDy,
  kDLastH,
  kDLastC,
  kX,
  kKernel,
  kRecurrent,
  kH,
  kC,
  kY,
  kGatesIn,
  kCells,
  kLengths
};
constexpr InputDef kInputs[] = {
    {"dy"}, {"dlast_h"}, {"dlast_c"}, {"x"},     {"kernel"}, {"recurrent_kernel"},
    {"h"},  {"c"},       {"y"},       {"gates"}, {"cells"},  {"lengths", Arity::kOptional, false}};
constexpr AttrDef kAttrs[] = {{"reverse", AttrType::kBool, "false"}};
constexpr OutputDef kOutputs[] = {{"dx"},    {"dkernel"}, {"drecurrent_kernel"},
                                  {"dbias"}, {"dh"},      {"dc"}};

void Infer(InferContext& c) {
  const auto [batch, time, units] = InferRecurrent(c, kX, 4);
  for (int i : {kDy, kY, kCells}) RequireShape(c, i, {batch, time, units});
  for (int i : {kDLastH, kDLastC, kH, kC}) RequireShape(c, i, {batch, units});
  RequireShape(c, kGatesIn, {batch, time, units * 4});
  RequireLengths(c, kLengths, batch);
  for (int i : {kX, kKernel, kRecurrent}) c.Out(c.input(i));
  c.Out(c.dtype(0), {units * 4});
  for (int i : {kH, kC}) c.Out(c.input(i));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, ops::kLstmGrad, in, attrs);
  Steps steps(b, in[kX], std::get<bool>(attrs[RecurrentAttr::kReverse]),
              in.size() > kLengths ? in[kLengths] : Value{});
  const auto out =
      steps.Run({in[kRecurrent]}, std::array{in[kDLastH], in[kDLastC]},
                std::array{in[kDy], in[kGatesIn], in[kCells], steps.Before(in[kCells], in[kC])},
                true, [](const Steps::Step& s) -> ScanReturns {
                  Builder& b = s.b;
                  const Value dh = s.states[0], dc = s.states[1], before = s.rows[3];
                  const auto a = SplitGates(b, s.rows[1], 4);
                  const Value squashed = b(kTanh, {s.rows[2]});
                  const Value g = b(kAdd, {dh, s.rows[0]});
                  const Value cell = b(kAdd, {dc, TanhSlope(b, b(kMultiply, {g, a[3]}), squashed)});
                  const std::array parts = {SigmoidSlope(b, b(kMultiply, {cell, a[2]}), a[0]),
                                            SigmoidSlope(b, b(kMultiply, {cell, before}), a[1]),
                                            TanhSlope(b, b(kMultiply, {cell, a[0]}), a[2]),
                                            SigmoidSlope(b, b(kMultiply, {g, squashed}), a[3])};
                  const Value dz = s.OrZero(Join(b, parts, 1));
                  return {{s.Choose(Product(b, dz, s.captures[0], false, true), dh),
                           s.Choose(b(kMultiply, {cell, a[1]}), dc)},
                          {dz}};
                });
  const Value dz = out[2];
  return {Product(b, dz, in[kKernel], false, true),
          SequenceProduct(b, in[kX], dz),
          SequenceProduct(b, steps.Before(in[kY], in[kH]), dz),
          SequenceSum(b, dz),
          out[0],
          out[1]};
}

}  // namespace

constinit const OpDef ops::kLstmGrad = {
    .name = "lstm_grad",
    .doc =
        "The gradients of lstm with respect to its inputs.\n"
        "lengths: as for lstm.\n"
        "reverse: as for lstm.",
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
