// SPDX-License-Identifier: Apache-2.0
// What a library computes in one call: lstm or gru without lengths, from the first step to the
// last. What the gradient wants to know is one block, whose layout is the implementation's.
#include <array>

#include "ops/common/build.h"
#include "ops/common/recurrent.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Input { kX, kKernel, kRecurrent, kBias, kH, kC };
constexpr InputDef kInputs[] = {{"x"},    {"kernel"}, {"recurrent_kernel"},
                                {"bias"}, {"h"},      {"c", Arity::kOptional}};
constexpr AttrDef kAttrs[] = {{"cell", AttrType::kString}};
constexpr OutputDef kOutputs[] = {{"y"}, {"saved"}, {"last", Arity::kVariadic}};

void Infer(InferContext& c) {
  const bool lstm = IsLstmLayer(c);
  const int64_t gates = lstm ? 4 : 3;
  const auto [batch, time, units] = InferRecurrent(c, kX, gates);
  RequireShape(c, kBias, lstm ? Shape{units * 4} : Shape{2, units * 3});
  const int states = lstm ? 2 : 1;
  if (c.size() != kH + states) c.Fail("lstm takes the states h and c, gru takes h");
  for (int i = kH; i < c.size(); ++i) RequireShape(c, i, {batch, units});
  c.Out(c.dtype(0), {batch, time, units});
  c.Out(c.dtype(0), {SavedElements(lstm, batch, time, units)});
  for (int i = 0; i < states; ++i) c.Out(c.dtype(0), {batch, units});
}

// Gates, then lstm's cells, then nothing.
Value Saved(Builder& b, std::span<const Value> parts, Dim elements) {
  std::vector<Value> flat;
  Dim used = 0;
  for (const Value v : parts) {
    const Shape& s = b.shape(v);
    flat.push_back(Reshape(b, v, {s[0] * s[1] * s[2]}));
    used = used + s[0] * s[1] * s[2];
  }
  flat.push_back(Full(b, {b.dtype(parts[0]), {elements - used}}, 0.0));
  return Join(b, flat, 0);
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr>) {
  const bool lstm = in.size() > kC;
  const Shape x = b.shape(in[kX]);
  const Dim elements = SavedElements(lstm, x[0], x[1], b.shape(in[kRecurrent])[0]);
  const std::vector<Value> out = b.Multi(lstm ? kLstm : kGru, in, {false});
  if (!lstm) return {out[0], Saved(b, std::array{out[2]}, elements), out[1]};
  return {out[0], Saved(b, std::array{out[3], out[4]}, elements), out[1], out[2]};
}

}  // namespace

constinit const OpDef ops::kRecurrentLayer = {
    .name = "recurrent_layer",
    .doc =
        "lstm or gru without lengths, as a library computes it.\n"
        "Gives y, what the gradient wants to know, and the last states.\n"
        "cell: 'lstm', with the states h and c, or 'gru', with h.",
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
