// SPDX-License-Identifier: Apache-2.0
#include "ir/builder.h"
#include "ops/ops.h"

namespace ostria {
namespace {

enum Attribute { kLength, kType };
constexpr AttrDef kAttrs[] = {{"length", AttrType::kShape}, {"dtype", AttrType::kDType, "int64"}};

void Infer(InferContext& c) {
  const Shape& length = c.attr<Shape>(kLength);
  const DType dtype = c.attr<DType>(kType);
  if (length.rank() != 1) {
    c.Fail("length must be a shape of one dimension, but is ", length, "; give one number");
  }
  if (dtype == DType::kBool) {
    c.FailType(
        "numbers 0..n-1 do not fit bool; give an integer or "
        "floating-point dtype");
  }
  c.Out(dtype, length);
}

}  // namespace

constinit const OpDef ops::kIota = {
    .name = "iota",
    .doc =
        "The numbers 0, 1, …, n - 1.\n"
        "length: a shape of rank 1 that holds n.\n"
        "dtype: the result's dtype, any but bool.",
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .infer = Infer,
    .grad = NoGrad("it has no inputs"),
    .flops = NoFlops,
};

}  // namespace ostria
