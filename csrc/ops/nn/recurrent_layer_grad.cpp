// SPDX-License-Identifier: Apache-2.0
// Back-propagation through time from what recurrent_layer saved. The decomposition reads what the
// decomposition of recurrent_layer wrote: an implementation of one needs one of the other.
#include <array>

#include "ops/common/build.h"
#include "ops/common/recurrent.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Input { kDy, kX, kKernel, kRecurrent, kBias, kY, kSaved, kDLastH, kH, kDLastC, kC };
constexpr InputDef kInputs[] = {{"dy"},
                                {"x"},
                                {"kernel"},
                                {"recurrent_kernel"},
                                {"bias"},
                                {"y"},
                                {"saved"},
                                {"dlast_h"},
                                {"h"},
                                {"dlast_c", Arity::kOptional},
                                {"c", Arity::kOptional}};
constexpr AttrDef kAttrs[] = {{"cell", AttrType::kString}};
constexpr OutputDef kOutputs[] = {
    {"dx"}, {"dkernel"}, {"drecurrent_kernel"}, {"dbias"}, {"dstates", Arity::kVariadic}};

void Infer(InferContext& c) {
  const bool lstm = IsLstmLayer(c);
  const auto [batch, time, units] = InferRecurrent(c, kX, lstm ? 4 : 3);
  const int states = lstm ? 2 : 1;
  if (c.size() != kDLastH + 2 * states) c.Fail("lstm takes the states h and c, gru takes h");
  RequireShape(c, kBias, lstm ? Shape{units * 4} : Shape{2, units * 3});
  for (int i : {kDy, kY}) RequireShape(c, i, {batch, time, units});
  RequireShape(c, kSaved, {SavedElements(lstm, batch, time, units)});
  for (int i = kDLastH; i < c.size(); ++i) RequireShape(c, i, {batch, units});
  for (int i : {kX, kKernel, kRecurrent, kBias}) c.Out(c.input(i));
  for (int i = 0; i < states; ++i) c.Out(c.input(kH));
}

Value Part(Builder& b, Value saved, Dim from, const Shape& shape) {
  const Value flat = b(kSliceAt, {saved}, {int64_t{0}, Shape{from}, Shape{shape.numel()}});
  return Reshape(b, flat, shape);
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr>) {
  const Shape y = b.shape(in[kY]);
  const Dim units = y[2];
  const Value gates = Part(b, in[kSaved], 0, {y[0], y[1], units * 4});
  if (in.size() <= kDLastC) {
    return b.Multi(
        kGruGrad,
        {in[kDy], in[kDLastH], in[kX], in[kKernel], in[kRecurrent], in[kH], in[kY], gates},
        {false});
  }
  const Value cells = Part(b, in[kSaved], y[0] * y[1] * units * 4, y);
  return b.Multi(kLstmGrad,
                 {in[kDy], in[kDLastH], in[kDLastC], in[kX], in[kKernel], in[kRecurrent], in[kH],
                  in[kC], in[kY], gates, cells},
                 {false});
}

}  // namespace

constinit const OpDef ops::kRecurrentLayerGrad = {
    .name = "recurrent_layer_grad",
    .doc =
        "The gradients of recurrent_layer with respect to its inputs.\n"
        "cell: as for recurrent_layer.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = {.internal = true, .amp = Amp::kFp32},
    .infer = Infer,
    .grad = NoGrad("it is made after differentiation"),
    .decompose = Decompose,
    .on_empty = OnEmpty::kZero,
};

}  // namespace ostria
