// SPDX-License-Identifier: Apache-2.0
// A graph of cuDNN's operations as plain data: made without a device and without the library. Roles
// and modes go by name; the tables in descriptors.cpp know what the library calls them. Its text is
// canonical: equal texts are equal graphs, so it is the key of every cache.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/dtype.h"
#include "core/mem_desc.h"

namespace ostria::cuda {

/// Sizes and strides in the library's order: batch, channels, then the spatial axes.
struct GraphTensor {
  int64_t uid = 0;  // 1, 2, … in the order of making
  DType dtype = DType::kFloat32;
  std::vector<int64_t> sizes, strides;  // strides in elements
  int64_t alignment = 16;               // of its address, in bytes
  bool is_virtual = false;              // lives inside the graph only
  bool by_value = false;                // one number, `value`, that the host passes
  double value = 0;
};

enum class GraphOp : uint8_t {
  kConvForward,
  kConvGradInput,
  kConvGradFilter,
  kPointwise,
  kMatmul,
  kReduction,
  kGenStats,
  kBnFinalize,
  kBnGradWeights,
  kNormForward,
  kNormGrad,
  kPoolForward,
  kPoolGrad,
  kReshape,
};

/// What an operation is told besides its tensors; what it does not have stays as it is here.
struct GraphSettings {
  std::string_view mode = {};          // "relu", "add", "layer", "max": in the text, so no enum
  DType compute = DType::kFloat32;     // what it calculates in
  std::vector<int64_t> size = {};      // of a pool's window
  std::vector<int64_t> low = {};       // padding before
  std::vector<int64_t> high = {};      // and behind
  std::vector<int64_t> stride = {};    // of the window
  std::vector<int64_t> dilation = {};  // of a convolution's
  int64_t axis = -1;                   // of an index
};

struct GraphNode {
  GraphOp op;
  std::vector<std::pair<std::string_view, int64_t>> tensors;  // role and uid
  GraphSettings settings;
};

class CudnnGraph {
 public:
  struct Kind {
    bool is_virtual = false;
    bool by_value = false;
    double value = 0;
    int64_t alignment = 16;
  };
  /// Adds a tensor and returns its uid.
  int64_t Tensor(DType dtype, std::vector<int64_t> sizes, std::vector<int64_t> strides, Kind kind);
  int64_t Tensor(DType dtype, std::vector<int64_t> sizes, std::vector<int64_t> strides) {
    return Tensor(dtype, std::move(sizes), std::move(strides), Kind());
  }
  /// [n, …, c] in memory (an image, or a kernel [o, …, i]); one spatial axis becomes two.
  int64_t ChannelsLast(const MemDesc& m);
  int64_t ChannelsLast(DType dtype, int64_t n, int64_t c, std::span<const int64_t> spatial);
  /// One number per channel, for images with `spatial` spatial axes.
  int64_t PerChannel(DType dtype, int64_t c, size_t spatial = 2);
  int64_t Scalar(DType dtype, double value, size_t rank);
  /// Like tensor `uid`, inside the graph only.
  int64_t Virtual(DType dtype, int64_t uid);

  void Add(GraphOp op, std::vector<std::pair<std::string_view, int64_t>> tensors,
           GraphSettings settings = {});
  /// y = mode(x) or mode(x, b) in float32; the result is inside the graph, or `y`.
  int64_t Pointwise(std::string_view mode, int64_t x, int64_t b = 0, int64_t y = 0);

  const std::vector<GraphTensor>& tensors() const { return tensors_; }
  const std::vector<GraphNode>& nodes() const { return nodes_; }
  const GraphTensor& tensor(int64_t uid) const { return tensors_[static_cast<size_t>(uid - 1)]; }
  /// The same for tensors that lie anywhere, as slices of others may.
  CudnnGraph Unaligned() const;
  /// One line per tensor, then one per operation.
  std::string Text() const;

 private:
  std::vector<GraphTensor> tensors_;
  std::vector<GraphNode> nodes_;
};

std::string_view Name(GraphOp op);

/// Numbers per spatial axis: one axis becomes two, as CudnnGraph::ChannelsLast makes of images, and
/// `missing` is that of the new one.
std::vector<int64_t> PerAxis(std::vector<int64_t> values, int64_t missing);

}  // namespace ostria::cuda
