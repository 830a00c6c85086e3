// SPDX-License-Identifier: Apache-2.0
// Pools and their gradients as single operations of cuDNN's. Its averages leave padding out, as
// ours. What its index of a maximum is, its documentation does not say; others found the position
// in the window, counted as ours and padding included, in 8 bits with a sign. The tests that run
// these graphs on a device compare it.
#include "backend/cuda/cudnn/nodes.h"
#include "ops/common/pool.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

constexpr int64_t kMostPositions = 128;  // that an index tells apart

}  // namespace

CudnnNode DescribePool(const NodeDesc& node) {
  const bool max_grad = node.op == &ops::kMaxPoolGrad,
             grad = max_grad || node.op == &ops::kAvgPoolGrad;
  const bool max = max_grad || node.outputs.size() == 2;
  const ops::Window window = ops::PoolWindow(node.attrs);
  if (node.inputs[0].dtype == DType::kFloat64) return CudnnNode::No("computes in float32");
  if (max_grad && node.inputs[1].dtype != DType::kUInt8) {
    return CudnnNode::No(StrCat("takes an index of uint8, not ", node.inputs[1].dtype));
  }
  if (max && window.positions() > kMostPositions) {
    return CudnnNode::No(StrCat("its index tells ", kMostPositions,
                                " positions of a window apart, and there are ",
                                window.positions()));
  }
  const auto per_axis = [&](const ops::Window::Sizes& sizes, int64_t missing) {
    return PerAxis({sizes.begin(), sizes.begin() + window.dims}, missing);
  };
  CudnnNode d;
  std::vector<std::pair<std::string_view, int64_t>> roles;
  const auto pass = [&](std::string_view role, MemDesc m) {
    if (role == "index") m.dtype = DType::kInt8;
    d.uids.push_back(d.graph.ChannelsLast(m));
    roles.emplace_back(role, d.uids.back());
  };
  pass(grad ? "dy" : "x", node.inputs[0]);
  if (max_grad) pass("index", node.inputs[1]);
  pass(grad ? "dx" : "y", node.outputs[0]);
  if (max && !grad) pass("index", node.outputs[1]);
  d.graph.Add(grad ? GraphOp::kPoolGrad : GraphOp::kPoolForward, std::move(roles),
              {.mode = max ? "max" : "average",
               .size = per_axis(window.size, 1),
               .low = per_axis(window.low, 0),
               .high = per_axis(window.high, 0),
               .stride = per_axis(window.stride, 1)});
  return d;
}

}  // namespace ostria::cuda
