// SPDX-License-Identifier: Apache-2.0
#include "ops/common/reduce.h"

#include <algorithm>

namespace ostria::ops {
namespace {

bool Contains(std::span<const int> axes, int axis) {
  return std::find(axes.begin(), axes.end(), axis) != axes.end();
}

/// Whether some output element exists that no input element contributes to.
bool ReducesNothing(const InferContext& c) {
  const Shape& shape = c.shape(0);
  const auto axes = Axes(c.attr<std::vector<int64_t>>(kReduceAxis), shape.rank());
  bool nothing = false;
  for (int i = 0; i < shape.rank(); ++i) {
    if (!(shape[i] == Dim(0))) continue;
    if (!Contains(axes, i)) return false;  // the output is empty too
    nothing = true;
  }
  return nothing;
}

}  // namespace

Shape ReducedShape(const Shape& shape, std::span<const int> axes, bool keepdims) {
  Shape out;
  for (int i = 0; i < shape.rank(); ++i) {
    if (!Contains(axes, i)) {
      out.Append(shape[i]);
    } else if (keepdims) {
      out.Append(1);
    }
  }
  return out;
}

Shape InferReducedShape(const InferContext& c) {
  const auto axes = NormalizeAxes(c, c.attr<std::vector<int64_t>>(kReduceAxis), c.shape(0));
  return ReducedShape(c.shape(0), axes, c.attr<bool>(kReduceKeepdims));
}

DType AccumulateDType(DType dtype) {
  switch (KindOf(dtype)) {
    case DTypeKind::kFloat: return dtype;
    case DTypeKind::kUnsigned: return DType::kUInt64;
    case DTypeKind::kBool:
    case DTypeKind::kSigned: break;
  }
  return DType::kInt64;
}

void InferAccumulate(InferContext& c) { c.Out(AccumulateDType(c.dtype(0)), InferReducedShape(c)); }

void InferReduceFloat(InferContext& c) {
  RequireFloat(c, 0);
  c.Out(c.dtype(0), InferReducedShape(c));
}

void InferExtremum(InferContext& c) {
  const Shape out = InferReducedShape(c);
  if (!IsFloat(c.dtype(0)) && ReducesNothing(c)) {
    c.Fail("no elements to reduce in ", c.input(0), ", and ", c.dtype(0),
           " has no infinity to return; give at least one element, or cast to a float");
  }
  c.Out(c.dtype(0), out);
}

void InferAnyAll(InferContext& c) { c.Out(DType::kBool, InferReducedShape(c)); }

void InferArg(InferContext& c) {
  RequireNumber(c, 0);
  const auto& axis = c.attr<std::vector<int64_t>>(kReduceAxis);
  if (axis.size() > 1) {
    c.Fail("takes one axis, or none for the flattened tensor, but (", Join(axis, ", "),
           ") was given; reshape x so that these axes are one");
  }
  const Shape out = InferReducedShape(c);
  if (ReducesNothing(c)) {
    c.Fail("no elements to choose from in ", c.input(0), "; give at least one along the axis");
  }
  c.Out(DType::kInt64, out);
}

Value KeepDims(GradContext& c, Value v) {
  const Shape in = c.b.shape(c.input(0));
  const auto axes = Axes(c.attr<std::vector<int64_t>>(kReduceAxis), in.rank());
  return Reshape(c.b, v, ReducedShape(in, axes, true));
}

Value ReducedCount(GradContext& c, DType dtype) {
  const Shape in = c.b.shape(c.input(0));
  Dim n = 1;
  for (int axis : Axes(c.attr<std::vector<int64_t>>(kReduceAxis), in.rank())) n = n * in[axis];
  return DimProduct(c.b, {Max(n, 1)}, dtype);
}

double ReduceFlops(std::span<const ValueType> in, std::span<const ValueType>,
                   std::span<const Attr>) {
  return static_cast<double>(in[0].shape.numel());
}

}  // namespace ostria::ops
