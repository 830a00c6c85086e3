// SPDX-License-Identifier: Apache-2.0
// Convolutions with batch normalisation at their ends, by engines that come with cuDNN: those are
// for float16. What is compiled at run time takes seconds and is left to separate passes.
#include "backend/cuda/cudnn/nodes.h"
#include "backend/cuda/cudnn/patterns.h"
#include "backend/cuda/cudnn/run.h"
#include "backend/cuda/ops/kernels.h"
#include "ops/common/attr_index.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using ops::ConvAttr;
using Ints = std::vector<int64_t>;

Ints SpatialOf(const MemDesc& m) {
  Ints out;
  for (int i = 1; i + 1 < m.rank; ++i) out.push_back(m.sizes[static_cast<size_t>(i)]);
  return out;
}

// Why these engines do not take the convolution; empty: they may.
std::string Refusal(const NodeDesc& node, const MemDesc& image) {
  if (image.dtype != DType::kFloat16) return "has engines for float16 only";
  if (image.rank < 4) return "has engines for two and three spatial axes";
  if (node.attr<int64_t>(ConvAttr::kGroups) != 1) return "has no engine for groups";
  for (const int64_t d : node.attr<Ints>(ConvAttr::kDilation)) {
    if (d != 1) return "has no engine for dilation";
  }
  const Ints& padding = node.attr<Ints>(ConvAttr::kPadding);
  for (size_t i = 0; i < padding.size(); i += 2) {
    if (padding[i] != padding[i + 1]) return "wants as much padding on both sides";
  }
  return {};
}

ConvShape ShapeOf(const NodeDesc& node, const MemDesc& image, const MemDesc& kernel) {
  ConvShape c{.dtype = image.dtype,
              .n = image.sizes[0],
              .in = kernel.sizes[static_cast<size_t>(kernel.rank - 1)],
              .out = kernel.sizes[0],
              .image = SpatialOf(image),
              .kernel = SpatialOf(kernel),
              .stride = node.attr<Ints>(ConvAttr::kStrides)};
  const Ints& padding = node.attr<Ints>(ConvAttr::kPadding);
  for (size_t i = 0; i < padding.size(); i += 2) c.padding.push_back(padding[i]);
  return c;
}

CudnnNode Named(Pattern pattern, std::initializer_list<std::string_view> operands) {
  CudnnNode out{.graph = std::move(pattern.graph), .comes_built = true};
  for (const std::string_view name : operands) {
    for (const auto& [known, uid] : pattern.tensors) {
      if (known == name) out.uids.push_back(uid);
    }
  }
  return out;
}

CudnnNode DescribeStats(const NodeDesc& node) {
  if (std::string why = Refusal(node, node.inputs[0]); !why.empty()) return CudnnNode::No(why);
  const ConvShape c = ShapeOf(node, node.inputs[0], node.inputs[1]);
  if (node.inputs.size() == 2) return Named(ConvStats(c), {"x", "w", "y", "sum", "square_sum"});
  return Named(NormReluConvStats(c), {"x", "w", "factor", "shift", "y", "sum", "square_sum"});
}

CudnnNode DescribeFilter(const NodeDesc& node) {
  if (std::string why = Refusal(node, node.inputs[0]); !why.empty()) return CudnnNode::No(why);
  const ConvShape c = ShapeOf(node, node.inputs[0], node.outputs[0]);
  return Named(NormReluConvGradFilter(c), {"x", "factor", "shift", "dy", "dw"});
}

CudnnNode DescribeInput(const NodeDesc& node) {
  const MemDesc &image = node.inputs[2], &scale = node.inputs[3];
  if (std::string why = Refusal(node, image); !why.empty()) return CudnnNode::No(why);
  if (scale.dtype != DType::kFloat32) return CudnnNode::No("wants parameters in float32");
  return Named(
      ConvGradInputReluNormGrad(ShapeOf(node, image, node.inputs[1])),
      {"dy", "w", "x", "scale", "bias", "mean", "rstd", "dz", "dscale", "dbias", "a", "b", "c"});
}

constexpr KernelDef kKernels[] = {
    CudnnKernel<DescribeStats>(&ops::kConvStats),
    CudnnKernel<DescribeFilter>(&ops::kConvGradFilterNorm),
    CudnnKernel<DescribeInput>(&ops::kConvGradInputNorm),
};

}  // namespace

std::span<const KernelDef> ConvNormKernels() { return kKernels; }

}  // namespace ostria::cuda
