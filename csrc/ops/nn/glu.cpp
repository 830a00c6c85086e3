// SPDX-License-Identifier: Apache-2.0
#include "ops/common/build.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kAxis };
constexpr InputDef kInputs[] = {{"x"}};
constexpr AttrDef kAttrs[] = {{"axis", AttrType::kInt, "-1"}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  Shape shape = c.shape(0);
  const int axis = NormalizeAxis(c, c.attr<int64_t>(kAxis), shape);
  if (!shape[axis].is_static() || shape[axis].value() % 2 != 0) {
    c.Fail("axis ", axis, " of ", shape,
           " is halved, so its size must be even and known while tracing; give another axis, or "
           "twice as many features");
  }
  shape[axis] = shape[axis].value() / 2;
  c.Out(c.dtype(0), shape);
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  const int rank = b.shape(in[0]).rank(), axis = ops::Axis(std::get<int64_t>(attrs[kAxis]), rank);
  std::vector<int64_t> start(rank, 0), middle(rank, 0), stop(rank, INT64_MAX), end = stop;
  stop[axis] = middle[axis] = b.shape(in[0])[axis].value() / 2;
  const Value values = b(kSlice, {in[0]}, {start, stop});
  const Value gates = b(kSlice, {in[0]}, {middle, end});
  return {b(kMultiply, {values, b(kSigmoid, {gates})})};
}

// A sigmoid, counted as one, and a product per result.
double Flops(std::span<const ValueType>, std::span<const ValueType> out, std::span<const Attr>) {
  return 2.0 * static_cast<double>(out[0].shape.numel());
}

}  // namespace

constinit const OpDef ops::kGlu = {
    .name = "glu",
    .doc =
        "a * sigmoid(b), where a and b are the halves of x along an axis: a gated linear unit.\n"
        "Floating-point only.\n"
        "axis: the axis that is halved; its size must be even.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .infer = Infer,
    .grad = NoGrad("it is differentiated through its decomposition"),
    .decompose = Decompose,
    .flops = Flops,
};

}  // namespace ostria
