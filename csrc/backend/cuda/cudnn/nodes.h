// SPDX-License-Identifier: Apache-2.0
// Nodes of ops in cuDNN's words, one function per family; none needs a device or the library.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "backend/cuda/cudnn/graph.h"
#include "backend/cuda/launch/launches.h"
#include "backend/kernel.h"

namespace ostria::cuda {

/// Enough for every convolution seen at full speed.
inline constexpr int64_t kWorkspaceLimit = int64_t{256} << 20;

struct CudnnNode {
  std::string refusal;  // why it cannot be said; empty: it can
  CudnnGraph graph;
  std::vector<int64_t> uids;  // of the inputs in order, then of the outputs; 0: not passed
  struct Inside {
    int64_t uid = 0;
    size_t operand = 0;  // its number among inputs and outputs
    int64_t offset = 0;  // bytes
  };
  std::vector<Inside> inside;                 // tensors that are parts of an operand whose uid is 0
  int64_t workspace_limit = kWorkspaceLimit;  // of the engine's own
  bool comes_built = false;                   // engines that are compiled at run time do not count
  // Other tensors of the graph that are not inside it lie in the workspace, behind the engine's;
  // kernels of ours may write some of them before it runs, and read some afterwards.
  struct Scratch {
    int64_t uid = 0;
    std::function<void(Launches* all, Place at)> add;
  };
  std::vector<Scratch> written, read;

  static CudnnNode No(std::string why) {
    CudnnNode node;
    node.refusal = std::move(why);
    return node;
  }
};

/// A mask of more bytes than this is not worth its place in the workspace.
inline constexpr int64_t kDropoutMaskLimit = int64_t{512} << 20;

/// attention without lengths, attention_grad.
CudnnNode DescribeAttention(const NodeDesc& node);
CudnnNode DescribeAttentionGrad(const NodeDesc& node);
/// The same of q, k and v within one tensor, and of their gradients.
CudnnNode DescribeAttentionPacked(const NodeDesc& node);
CudnnNode DescribeAttentionPackedGrad(const NodeDesc& node);

/// batch_norm, batch_norm_grad; layer_norm, rms_norm and their gradients.
CudnnNode DescribeBatchNorm(const NodeDesc& node);
CudnnNode DescribeRowNorm(const NodeDesc& node);

/// The pools and their gradients.
CudnnNode DescribePool(const NodeDesc& node);

/// conv1d to conv3d, conv_fused, conv_grad_input, conv_grad_filter.
CudnnNode DescribeConv(const NodeDesc& node);

}  // namespace ostria::cuda
