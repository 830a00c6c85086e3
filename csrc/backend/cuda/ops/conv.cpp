// SPDX-License-Identifier: Apache-2.0
// The convolutions and their gradients, by cuDNN: images with channels last, as everywhere.
#include "backend/cuda/cudnn/nodes.h"
#include "backend/cuda/cudnn/run.h"
#include "backend/cuda/ops/kernels.h"
#include "ops/common/activation.h"
#include "ops/common/attr_index.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using ops::ConvAttr;
using Ints = std::vector<int64_t>;

GraphSettings ConvSettings(const NodeDesc& node) {
  GraphSettings s;
  Ints low, high;
  const Ints& padding = node.attr<Ints>(ConvAttr::kPadding);
  for (size_t i = 0; i < padding.size(); i += 2) {
    low.push_back(padding[i]);
    high.push_back(padding[i + 1]);
  }
  s.low = PerAxis(low, 0);
  s.high = PerAxis(high, 0);
  s.stride = PerAxis(node.attr<Ints>(ConvAttr::kStrides), 1);
  s.dilation = PerAxis(node.attr<Ints>(ConvAttr::kDilation), 1);
  return s;
}

// The roles of inputs and output in their order; groups follow from the kernel's channels.
struct Roles {
  GraphOp op = GraphOp::kConvForward;
  std::string_view first = "x", second = "w", result = "y";
};

CudnnNode Plain(const NodeDesc& node, const Roles& roles) {
  CudnnNode d;
  for (const MemDesc& m : node.inputs) d.uids.push_back(d.graph.ChannelsLast(m));
  d.uids.push_back(d.graph.ChannelsLast(node.outputs[0]));
  d.graph.Add(roles.op,
              {{roles.first, d.uids[0]}, {roles.second, d.uids[1]}, {roles.result, d.uids[2]}},
              ConvSettings(node));
  return d;
}

// y = activation(x * w + addend + bias); what lies between is float32 inside the engine.
CudnnNode Fused(const NodeDesc& node) {
  CudnnNode d;
  CudnnGraph& g = d.graph;
  const bool has_bias = node.inputs.size() >= 3, has_addend = node.inputs.size() == 4;
  const MemDesc& y = node.outputs[0];
  ops::Activation activation = ops::Activation::kNone;
  ops::ParseActivation(node.attr<std::string>(ConvAttr::kActivation), &activation);
  const int64_t x = g.ChannelsLast(node.inputs[0]), w = g.ChannelsLast(node.inputs[1]);
  const int64_t result = g.ChannelsLast(y);
  d.uids = {x, w};
  int left = (has_bias ? 1 : 0) + (has_addend ? 1 : 0) + (activation != ops::Activation::kNone);
  const auto next = [&] { return left-- == 0 ? result : g.Virtual(DType::kFloat32, result); };
  int64_t at = next();
  g.Add(GraphOp::kConvForward, {{"x", x}, {"w", w}, {"y", at}}, ConvSettings(node));
  int64_t bias = 0, addend = 0;
  if (has_bias) {
    bias = g.PerChannel(y.dtype, y.sizes[static_cast<size_t>(y.rank - 1)],
                        g.tensor(result).sizes.size() - 2);
  }
  if (has_addend) {
    addend = g.ChannelsLast(node.inputs[3]);
    at = g.Pointwise("add", at, addend, next());
  }
  if (has_bias) at = g.Pointwise("add", at, bias, next());
  if (activation != ops::Activation::kNone) g.Pointwise(ops::Name(activation), at, 0, next());
  if (has_bias) d.uids.push_back(bias);
  if (has_addend) d.uids.push_back(addend);
  d.uids.push_back(result);
  return d;
}

constexpr KernelDef kKernels[] = {
    CudnnKernel<DescribeConv>(&ops::kConv1d),
    CudnnKernel<DescribeConv>(&ops::kConv2d),
    CudnnKernel<DescribeConv>(&ops::kConv3d),
    CudnnKernel<DescribeConv>(&ops::kConvFused),
    CudnnKernel<DescribeConv>(&ops::kConvGradInput),
    CudnnKernel<DescribeConv>(&ops::kConvGradFilter),
};

}  // namespace

CudnnNode DescribeConv(const NodeDesc& node) {
  if (node.op == &ops::kConvFused) {
    if (node.outputs[0].dtype == DType::kFloat64) {
      return CudnnNode::No("rounds to float32 between the steps of a fused convolution");
    }
    return Fused(node);
  }
  if (node.op == &ops::kConvGradInput) {
    return Plain(node, {GraphOp::kConvGradInput, "dy", "w", "dx"});
  }
  if (node.op == &ops::kConvGradFilter) {
    // Seen on an H200 with cuDNN 9.19 (benchmarks/results/gpu): other sums than float32's.
    const bool grouped = node.attr<int64_t>(ConvAttr::kGroups) > 1;
    if (grouped && node.inputs[0].rank == 5 && SizeOf(node.inputs[0].dtype) == 2) {
      return CudnnNode::No("is wrong for groups of 16 bits along three axes");
    }
    return Plain(node, {GraphOp::kConvGradFilter, "x", "dy", "dw"});
  }
  return Plain(node, {});
}

std::span<const KernelDef> ConvKernels() { return kKernels; }

}  // namespace ostria::cuda
