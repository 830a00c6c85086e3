// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/conv_desc.h"

#include "ops/common/attr_index.h"
#include "ops/ops.h"

namespace ostria::cpu {

ConvDesc DescribeConv(const NodeDesc& node) {
  using ops::ConvAttr;
  const MemDesc *image = &node.inputs[0], *kernel = &node.inputs[1], *result = &node.outputs[0];
  if (node.op == &ops::kConv2dGradInput) {
    image = &node.outputs[0];
    result = &node.inputs[0];
  } else if (node.op == &ops::kConv2dGradFilter) {
    kernel = &node.outputs[0];
    result = &node.inputs[1];
  }
  ConvDesc d;
  d.dtype = image->dtype;
  d.n = image->sizes[0];
  d.h = image->sizes[1];
  d.w = image->sizes[2];
  d.c = image->sizes[3];
  d.oh = result->sizes[1];
  d.ow = result->sizes[2];
  d.o = result->sizes[3];
  d.kh = kernel->sizes[1];
  d.kw = kernel->sizes[2];
  using Ints = std::vector<int64_t>;
  const Ints &strides = node.attr<Ints>(ConvAttr::kStrides),
             &padding = node.attr<Ints>(ConvAttr::kPadding),
             &dilation = node.attr<Ints>(ConvAttr::kDilation);
  d.stride_h = strides[0];
  d.stride_w = strides[1];
  d.top = padding[0];
  d.bottom = padding[1];
  d.left = padding[2];
  d.right = padding[3];
  d.dilation_h = dilation[0];
  d.dilation_w = dilation[1];
  d.groups = node.attr<int64_t>(ConvAttr::kGroups);
  if (node.op == &ops::kConv2dFused) {
    d.has_bias = node.inputs.size() == 3;
    ops::ParseActivation(node.attr<std::string>(ConvAttr::kActivation), &d.activation);
  }
  return d;
}

}  // namespace ostria::cpu
