// SPDX-License-Identifier: Apache-2.0
#include "ops/common/reduce.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  // The product of the other elements, without dividing by 0. With n zeros among the elements, p
  // the product of the others and z the sum of the zeros (0, but its derivative is not):
  //   n = 0: p / x     n = 1: p at the zero, p / x * z elsewhere     n = 2: p * (z - x) at the
  //   zeros
  Builder& b = c.b;
  const Value x = c.input(0);
  const DType t = b.dtype(x);
  const Attr axes = c.attr<std::vector<int64_t>>(kReduceAxis);
  const Value zero = Scalar(b, t, 0.0), one = Scalar(b, t, 1.0), two = Scalar(b, t, 2.0);
  const Value is_zero = b(kEqual, {x, zero});
  const Value safe = b(kWhere, {is_zero, one, x});
  const Value p = b(kProd, {safe}, {axes, true});
  const Value n = b(kSum, {Cast(b, is_zero, t)}, {axes, true});
  const Value z = b(kSum, {b(kWhere, {is_zero, x, zero})}, {axes, true});
  const Value others = b(kDivide, {p, safe});
  const Value at_one = b(kWhere, {is_zero, p, b(kMultiply, {others, z})});
  const Value at_two = b(kWhere, {is_zero, b(kMultiply, {p, b(kSubtract, {z, x})}), zero});
  const Value more = b(kWhere, {b(kEqual, {n, two}), at_two, zero});
  const Value some = b(kWhere, {b(kEqual, {n, one}), at_one, more});
  const Value slope = b(kWhere, {b(kEqual, {n, zero}), others, some});
  c.Set(0, b(kMultiply, {KeepDims(c, c.cotangent()), slope}));
}

}  // namespace

constinit const OpDef ops::kProd = {
    .name = "prod",
    .doc =
        "The product over axes; 1 for no elements.\n"
        "Integers and bools are multiplied as int64 (unsigned ones as uint64).\n"
        "axis: the axes to reduce, all of them when empty.\n"
        "keepdims: keep reduced axes with size 1.",
    .inputs = kReduceInputs,
    .attrs = kReduceAttrs,
    .outputs = kOneOutput,
    .traits = {.amp = Amp::kFp32},
    .infer = InferAccumulate,
    .grad = Grad,
    .decompose = DecomposeAccumulate<kProd>,
    .on_empty = OnEmpty::kOne,
    .flops = ReduceFlops,
};

}  // namespace ostria
