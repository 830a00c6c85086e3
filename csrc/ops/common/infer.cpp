// SPDX-License-Identifier: Apache-2.0
#include "ops/common/infer.h"

#include <algorithm>

#include "kernels/scalar/scalar_op.h"

namespace ostria::ops {
namespace {

std::string Given(const InferContext& c, int i) {
  return StrCat("'", InputName(c, i), "' is ", c.input(i));
}

/// "floating-point or integer" for kFloats | kInts.
std::string Accepted(uint8_t kinds) {
  std::vector<std::string_view> names;
  if (kinds & kernels::kFloats) names.push_back("floating-point");
  if (kinds & kernels::kInts) names.push_back("integer");
  if (kinds & kernels::kBools) names.push_back("bool");
  return names.size() < 3 ? Join(names, " or ")
                          : StrCat(names[0], ", ", names[1], " or ", names[2]);
}

uint8_t KindBit(DType t) {
  if (t == DType::kBool) return kernels::kBools;
  return IsFloat(t) ? kernels::kFloats : kernels::kInts;
}

void RequireKinds(const InferContext& c, int i, uint8_t kinds) {
  if (KindBit(c.dtype(i)) & kinds) return;
  const std::string_view target = kinds & kernels::kFloats ? "float32"
                                  : kinds & kernels::kInts ? "int32"
                                                           : "bool";
  c.FailType("needs a tensor of ", Accepted(kinds), " dtype, but ", Given(c, i),
             "; cast it first, as in cast(", InputName(c, i), ", \"", target, "\")");
}

}  // namespace

std::string InputName(const InferContext& c, int i) {
  const auto& inputs = c.op().inputs;
  int fixed = 0;
  for (const InputDef& in : inputs) {
    if (in.arity == Arity::kVariadic) {
      return i < fixed ? std::string(inputs[i].name) : StrCat(in.name, i - fixed);
    }
    ++fixed;
  }
  return i < fixed ? std::string(inputs[i].name) : StrCat("input ", i);
}

void RequireFloat(const InferContext& c, int i) { RequireKinds(c, i, kernels::kFloats); }
void RequireInteger(const InferContext& c, int i) { RequireKinds(c, i, kernels::kInts); }
void RequireBool(const InferContext& c, int i) { RequireKinds(c, i, kernels::kBools); }
void RequireNumber(const InferContext& c, int i) {
  RequireKinds(c, i, kernels::kFloats | kernels::kInts);
}

void RequireIndex(const InferContext& c, int i) {
  if (c.dtype(i) == DType::kInt32 || c.dtype(i) == DType::kInt64) return;
  c.FailType("indices must be int32 or int64, but ", Given(c, i), "; cast them first, as in cast(",
             InputName(c, i), ", \"int64\")");
}

void RequireSameDType(const InferContext& c, int i, int j) {
  if (c.dtype(i) == c.dtype(j)) return;
  c.FailType("Tensor conversion requested dtype ", c.dtype(i), " for Tensor with dtype ",
             c.dtype(j), ": ", Given(c, i), " and ", Given(c, j),
             "; they must have one dtype, so cast one of them, as in cast(", InputName(c, j),
             ", \"", c.dtype(i), "\")");
}

Shape BroadcastShapes(const InferContext& c, const Shape& a, const Shape& b) {
  if (a == b) return a;
  const int rank = std::max(a.rank(), b.rank());
  Shape out;
  for (int i = 0; i < rank; ++i) {
    const int ia = i - (rank - a.rank()), ib = i - (rank - b.rank());
    if (ia < 0) {
      out.Append(b[ib]);
    } else if (ib < 0) {
      out.Append(a[ia]);
    } else if (a[ia] == b[ib] || b[ib] == Dim(1)) {
      out.Append(a[ia]);
    } else if (a[ia] == Dim(1)) {
      out.Append(b[ib]);
    } else if (Equal(a[ia], b[ib]) == Tri::kYes) {
      out.Append(a[ia]);
    } else {
      const bool symbolic = !a[ia].is_static() || !b[ib].is_static();
      c.Fail("shapes ", a, " and ", b, " do not broadcast: at axis ", i - rank, " one has ", a[ia],
             " and the other ", b[ib],
             symbolic ? "; a symbolic dimension only fits itself or 1; expand "
                        "or reshape one of them"
                      : "; from the right, sizes must be equal or one of them "
                        "1; expand or reshape "
                        "one of them");
    }
  }
  return out;
}

void RequireEqual(const InferContext& c, Dim a, Dim b, std::string_view what) {
  switch (Equal(a, b)) {
    case Tri::kYes: return;
    case Tri::kNo: c.Fail(what, " differ: ", a, " and ", b);
    case Tri::kUnknown: break;
  }
  c.Fail(what, " must be equal, but ", a, " and ", b,
         " are only equal for some sizes; use one symbol for both, or a fixed "
         "size");
}

int NormalizeAxis(const InferContext& c, int64_t axis, const Shape& shape) {
  const int rank = shape.rank();
  if (axis >= -rank && axis < rank) return static_cast<int>(axis < 0 ? axis + rank : axis);
  if (rank == 0) c.Fail("axis ", axis, " is out of range: a tensor of rank 0 has no axes");
  c.Fail("axis ", axis, " is out of range for a tensor of rank ", rank, " (shape ", shape,
         "); valid axes are ", -rank, "..", rank - 1);
}

std::vector<int> NormalizeAxes(const InferContext& c, std::span<const int64_t> axes,
                               const Shape& shape) {
  for (size_t i = 0; i < axes.size(); ++i) {
    const int axis = NormalizeAxis(c, axes[i], shape);
    for (size_t j = 0; j < i; ++j) {
      if (NormalizeAxis(c, axes[j], shape) == axis) {
        c.Fail("axis ", axis, " is given twice in (", Join(axes, ", "), ") for a tensor of rank ",
               shape.rank(), "; name each axis once");
      }
    }
  }
  return Axes(axes, shape.rank());
}

void RequireRank(const InferContext& c, int i, int rank, std::string_view accepted) {
  if (c.shape(i).rank() == rank) return;
  c.Fail("'", InputName(c, i), "' must have rank ", rank, " (", accepted, "), but has rank ",
         c.shape(i).rank(), " (shape ", c.shape(i), ")");
}

Shape GatheredShape(const Shape& x, int axis, const Shape& indices) {
  Shape out;
  for (int i = 0; i < axis; ++i) out.Append(x[i]);
  for (Dim d : indices) out.Append(d);
  for (int i = axis + 1; i < x.rank(); ++i) out.Append(x[i]);
  return out;
}

int Axis(int64_t axis, int rank) { return static_cast<int>(axis < 0 ? axis + rank : axis); }

std::vector<int> Axes(std::span<const int64_t> axes, int rank) {
  std::vector<int> out;
  if (axes.empty()) {
    for (int i = 0; i < rank; ++i) out.push_back(i);
  } else {
    for (int64_t axis : axes) out.push_back(Axis(axis, rank));
    std::sort(out.begin(), out.end());
  }
  return out;
}

void InferUnary(InferContext& c) { c.Out(c.input(0)); }

void InferUnaryFloat(InferContext& c) {
  RequireFloat(c, 0);
  c.Out(c.input(0));
}

void InferBinary(InferContext& c) {
  RequireSameDType(c, 0, 1);
  c.Out(c.dtype(0), BroadcastShapes(c, c.shape(0), c.shape(1)));
}

void InferBinaryFloat(InferContext& c) {
  RequireFloat(c, 0);
  InferBinary(c);
}

void InferCompare(InferContext& c) {
  RequireSameDType(c, 0, 1);
  c.Out(DType::kBool, BroadcastShapes(c, c.shape(0), c.shape(1)));
}

void InferElementwise(InferContext& c) {
  const kernels::ScalarOp op = static_cast<kernels::ScalarOp>(c.op().scalar.id);
  const kernels::ScalarOpInfo& info = kernels::InfoOf(op);
  int first = 0;
  if (op == kernels::ScalarOp::kWhere) {
    RequireBool(c, 0);
    first = 1;
  }
  for (int i = first + 1; i < c.size(); ++i) RequireSameDType(c, first, i);
  for (int i = first; i < c.size(); ++i) RequireKinds(c, i, info.kinds);
  Shape shape = c.shape(0);
  for (int i = 1; i < c.size(); ++i) shape = BroadcastShapes(c, shape, c.shape(i));
  c.Out(info.is_bool ? DType::kBool : c.dtype(first), shape);
}

}  // namespace ostria::ops
