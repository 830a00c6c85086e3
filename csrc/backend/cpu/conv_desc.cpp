// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/conv_desc.h"

#include <algorithm>

#include "backend/cpu/kernels.h"
#include "ops/common/attr_index.h"
#include "ops/ops.h"

namespace ostria::cpu {

ConvDesc DescribeConv(const NodeDesc& node) {
  using ops::ConvAttr;
  const MemDesc *image = &node.inputs[0], *kernel = &node.inputs[1], *result = &node.outputs[0];
  if (node.op == &ops::kConvGradInput) {
    image = &node.outputs[0];
    result = &node.inputs[0];
  } else if (node.op == &ops::kConvGradFilter) {
    kernel = &node.outputs[0];
    result = &node.inputs[1];
  }
  ConvDesc d;
  d.dtype = image->dtype;
  d.dims = image->rank - 2;
  d.n = image->sizes[0];
  d.c = image->sizes[d.dims + 1];
  d.o = result->sizes[d.dims + 1];
  const int to = ops::kMaxSpatial - d.dims;
  std::copy_n(&image->sizes[1], d.dims, d.image.begin() + to);
  std::copy_n(&result->sizes[1], d.dims, d.result.begin() + to);
  using Ints = std::vector<int64_t>;
  const Ints size(&kernel->sizes[1], &kernel->sizes[1] + d.dims);
  d.window =
      ops::WindowOf(size, node.attr<Ints>(ConvAttr::kStrides), node.attr<Ints>(ConvAttr::kPadding),
                    &node.attr<Ints>(ConvAttr::kDilation))
          .Widened();
  d.groups = node.attr<int64_t>(ConvAttr::kGroups);
  // Only for images has the library implementations that compute each channel by itself.
  if (d.dims == 1 && d.groups == d.c && d.groups == d.o) d.dims = 2;
  if (node.op == &ops::kConvFused) {
    d.has_bias = node.inputs.size() >= 3;
    d.has_addend = node.inputs.size() == 4;
    ops::ParseActivation(node.attr<std::string>(ConvAttr::kActivation), &d.activation);
  }
  return d;
}

Support SupportsOwnConv(const NodeDesc& node, const ConvDesc& d, int64_t lanes) {
  if (Support s = NeedsDense(node); !s.ok) return s;
  if (d.dtype != DType::kFloat32) return Support::No("is for float32, not ", d.dtype);
  if (lanes == 1) return Support::No("needs AVX2");
  if (d.groups != 1) return Support::No("is for one group, not ", d.groups);
  if (d.dims > 2) return Support::No("is for images, not volumes");
  return Support::Yes();
}

}  // namespace ostria::cpu
