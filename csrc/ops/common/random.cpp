// SPDX-License-Identifier: Apache-2.0
#include "ops/common/random.h"

#include "ops/common/build.h"

namespace ostria::ops {

void RequireKey(const InferContext& c, int first) {
  if (c.dtype(first) != DType::kInt64 || !(c.shape(first) == Shape{2})) {
    c.Fail("'key' must be int64[2] (seed and step), but is ", c.input(first));
  }
  if (c.size() <= first + 1) return;
  if (c.dtype(first + 1) != DType::kInt64 || c.shape(first + 1).rank() != 0) {
    c.Fail("'offset' must be int64[] (the global number of the first row), but is ",
           c.input(first + 1));
  }
}

void InferDraw(InferContext& c) {
  RequireKey(c, 0);
  const DType dtype = c.attr<DType>(RandomAttr::kDType);
  if (!IsFloat(dtype)) {
    c.FailType("draws floating-point numbers, not ", dtype, "; draw float32 and cast to ", dtype);
  }
  c.Out(dtype, c.attr<Shape>(RandomAttr::kShape));
}

double DrawFlops(std::span<const ValueType>, std::span<const ValueType> outputs,
                 std::span<const Attr>) {
  return static_cast<double>(outputs[0].shape.numel());
}

void FailNoSimplerOps(const OpDef& op) {
  throw Error(ErrorCode::kNotImplemented, std::string(op.name),
              "needs an implementation of its own: it cannot be made of simpler ops");
}

std::vector<Value> DecomposeDraw(Builder& b, const OpDef& op, std::span<const Value> in,
                                 std::span<const Attr> attrs) {
  const DType dtype = std::get<DType>(attrs[RandomAttr::kDType]);
  if (SizeOf(dtype) != 2) FailNoSimplerOps(op);
  std::vector<Attr> wide(attrs.begin(), attrs.end());
  wide[RandomAttr::kDType] = DType::kFloat32;
  return {Cast(b, b(op, in, wide), dtype)};
}

}  // namespace ostria::ops
