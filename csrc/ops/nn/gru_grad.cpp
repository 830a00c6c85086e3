// SPDX-License-Identifier: Apache-2.0
// Back-propagation through time. gates and y are what gru gave.
#include <array>

#include "ops/common/attr_index.h"
#include "ops/common/build.h"
#include "ops/common/recurrent.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Input { kDy, kDLastH, kX, kKernel, kRecurrent, kH, kY, kGatesIn, kLengths };
constexpr InputDef kInputs[] = {{"dy"},
                                {"dlast_h"},
                                {"x"},
                                {"kernel"},
                                {"recurrent_kernel"},
                                {"h"},
                                {"y"},
                                {"gates"},
                                {"lengths", Arity::kOptional, false}};
constexpr AttrDef kAttrs[] = {{"reverse", AttrType::kBool, "false"}};
constexpr OutputDef kOutputs[] = {{"dx"}, {"dkernel"}, {"drecurrent_kernel"}, {"dbias"}, {"dh"}};

void Infer(InferContext& c) {
  const auto [batch, time, units] = InferRecurrent(c, kX, 3);
  for (int i : {kDy, kY}) RequireShape(c, i, {batch, time, units});
  for (int i : {kDLastH, kH}) RequireShape(c, i, {batch, units});
  RequireShape(c, kGatesIn, {batch, time, units * 4});
  RequireLengths(c, kLengths, batch);
  for (int i : {kX, kKernel, kRecurrent}) c.Out(c.input(i));
  c.Out(c.dtype(0), {2, units * 3});
  c.Out(c.input(kH));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, ops::kGruGrad, in, attrs);
  Steps steps(b, in[kX], std::get<bool>(attrs[RecurrentAttr::kReverse]),
              in.size() > kLengths ? in[kLengths] : Value{});
  const Value hs = steps.Before(in[kY], in[kH]);
  const auto out = steps.Run(
      {in[kRecurrent]}, std::array{in[kDLastH]}, std::array{in[kDy], in[kGatesIn], hs}, true,
      [](const Steps::Step& s) -> ScanReturns {
        Builder& b = s.b;
        const auto a = SplitGates(b, s.rows[1], 4);
        const Value &z = a[0], &r = a[1], &candidate = a[2];
        const Value dh = s.states[0], g = b(kAdd, {dh, s.rows[0]}), h = s.rows[2];
        const Value kept = b(kMultiply, {g, z});
        const Value dz = SigmoidSlope(b, b(kMultiply, {g, b(kSubtract, {h, candidate})}), z);
        const Value dcandidate = TanhSlope(b, b(kSubtract, {g, kept}), candidate);
        const Value dr = SigmoidSlope(b, b(kMultiply, {dcandidate, a[3]}), r);
        const Value of_x = s.OrZero(Join(b, std::array{dz, dr, dcandidate}, 1));
        const Value of_s = s.OrZero(Join(b, std::array{dz, dr, b(kMultiply, {dcandidate, r})}, 1));
        const Value back = b(kAdd, {kept, Product(b, of_s, s.captures[0], false, true)});
        return {{s.Choose(back, dh)}, {of_x, of_s}};
      });
  const Value dx = out[1], ds = out[2];
  const Dim columns = b.shape(in[kKernel])[1];
  const Value rows[] = {Reshape(b, SequenceSum(b, dx), {1, columns}),
                        Reshape(b, SequenceSum(b, ds), {1, columns})};
  return {Product(b, dx, in[kKernel], false, true), SequenceProduct(b, in[kX], dx),
          SequenceProduct(b, hs, ds), Join(b, rows, 0), out[0]};
}

}  // namespace

constinit const OpDef ops::kGruGrad = {
    .name = "gru_grad",
    .doc =
        "The gradients of gru with respect to its inputs.\n"
        "lengths: as for gru.\n"
        "reverse: as for gru.",
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
