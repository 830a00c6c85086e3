// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/launch/window.h"

#include <limits>

#include "backend/cuda/ops/kernels.h"

namespace ostria::cuda {
namespace {

constexpr int64_t kMost32 = std::numeric_limits<int32_t>::max();

}  // namespace

kernels::WindowShape WindowShapeOf(const ops::Window& window, const MemDesc& image,
                                   const MemDesc& result) {
  kernels::WindowShape w;
  const ops::Window wide = window.Widened();
  w.batch = image.sizes[0];
  w.channels = image.sizes[image.rank - 1];
  for (int i = 0; i < ops::kMaxSpatial; ++i) {
    w.size[i] = static_cast<int32_t>(wide.size[i]);
    w.stride[i] = static_cast<int32_t>(wide.stride[i]);
    w.low[i] = static_cast<int32_t>(wide.low[i]);
    w.dilation[i] = static_cast<int32_t>(wide.dilation[i]);
  }
  const int lacking = ops::kMaxSpatial - window.dims;
  for (int i = 0; i < window.dims; ++i) {
    w.in[lacking + i] = static_cast<int32_t>(image.sizes[1 + i]);
    w.out[lacking + i] = static_cast<int32_t>(result.sizes[1 + i]);
  }
  return w;
}

Support SupportsWindow(const NodeDesc& node, const ops::Window& window) {
  for (int i = 0; i < ops::kMaxSpatial; ++i) {
    const int64_t reach = window.size[i] * window.dilation[i];
    if (reach > kMost32 / 4 || window.stride[i] > kMost32 / 4 || window.low[i] > kMost32 / 4) {
      return Support::No("a window of more than 2^29");
    }
  }
  for (const auto& operands : {node.inputs, node.outputs}) {
    for (const MemDesc& m : operands) {
      if (m.numel() > std::numeric_limits<uint32_t>::max()) {
        return Support::No("2^32 elements or more");
      }
      for (int i = 0; i < m.rank; ++i) {
        if (m.sizes[i] > kMost32 / 4) return Support::No("a size of more than 2^29");
      }
    }
  }
  return NeedsDense(node);
}

}  // namespace ostria::cuda
