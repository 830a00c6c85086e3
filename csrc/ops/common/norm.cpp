// SPDX-License-Identifier: Apache-2.0
#include "ops/common/norm.h"

namespace ostria::ops {

Shape InferChannels(const InferContext& c, int i) {
  const Shape& x = c.shape(i);
  if (x.rank() < 2) {
    c.Fail("'", InputName(c, i),
           "' must have rank 2 or more (batch first, channels last), but has shape ", x);
  }
  return {x[x.rank() - 1]};
}

namespace {

void RequireShape(const InferContext& c, int i, const Shape& channels) {
  if (c.shape(i) == channels) return;
  c.Fail("'", InputName(c, i), "' must have shape ", channels, " for x ", c.shape(0),
         ", but has shape ", c.shape(i));
}

}  // namespace

void RequireChannels(const InferContext& c, int i, const Shape& channels) {
  RequireSameDType(c, 0, i);
  RequireShape(c, i, channels);
}

void RequireParameters(const InferContext& c, int first, const Shape& channels) {
  const bool half = IsFloat(c.dtype(0)) && SizeOf(c.dtype(0)) == 2;
  const bool wide = half && c.dtype(first) == DType::kFloat32;
  for (int i = first; i < c.size(); ++i) {
    RequireSameDType(c, wide ? first : 0, i);
    RequireShape(c, i, channels);
  }
}

void RequireEpsilon(const InferContext& c, int attr) {
  const double epsilon = c.attr<double>(attr);
  if (!(epsilon >= 0)) c.Fail("epsilon is ", epsilon, "; it must be 0 or a small positive number");
}

int RequireRowAxes(const InferContext& c, int64_t axes, const Shape& x) {
  if (axes < 1 || axes > x.rank()) {
    c.Fail("axes is ", axes, "; it counts the last axes of x ", x, " that are normalised: 1..",
           x.rank());
  }
  return static_cast<int>(axes);
}

void RequireGroups(const InferContext& c, int64_t groups, const Shape& x) {
  const Dim channels = x[x.rank() - 1];
  if (!channels.is_static()) c.Fail("the number of channels of x ", x, " must be fixed");
  if (groups < 1 || channels.value() % groups != 0) {
    c.Fail("groups is ", groups, "; it must be positive and divide the ", channels,
           " channels of x ", x);
  }
}

Shape GroupsOf(const Shape& x, int64_t groups) {
  Dim between = 1;
  for (int i = 1; i + 1 < x.rank(); ++i) between = between * x[i];
  return {x[0], between, groups, FloorDiv(x[x.rank() - 1], groups)};
}

std::pair<std::vector<int64_t>, Shape> LeadingAxes(const Builder& b, Value x) {
  const Shape& shape = b.shape(x);
  return {AxisRange(0, shape.rank() - 1), FirstDims(shape, shape.rank() - 1)};
}

Shape FirstDims(const Shape& shape, int count) { return Shape(shape.dims().first(count)); }
Shape LastDims(const Shape& shape, int count) { return Shape(shape.dims().last(count)); }

std::vector<int64_t> AxisRange(int from, int to) {
  std::vector<int64_t> out;
  for (int i = from; i < to; ++i) out.push_back(i);
  return out;
}

}  // namespace ostria::ops
