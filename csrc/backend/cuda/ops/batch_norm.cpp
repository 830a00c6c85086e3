// SPDX-License-Identifier: Apache-2.0
// Batch and group normalisation: statistics of pieces of rows, what they come to, and the elements.
// How rows are cut depends on sizes and the device alone. cuDNN's comes second: all its engines for
// it are compiled when a plan is first built, which takes seconds.
#include <algorithm>

#include "backend/cuda/cudnn/run.h"
#include "backend/cuda/launch/launches.h"
#include "backend/cuda/ops/kernels.h"
#include "kernels/common/lane_groups.h"
#include "kernels/norm/channels.h"
#include "ops/common/attr_index.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using kernels::ChannelNormParams;
using kernels::kChannelThreads;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// The launches of one node over x [examples, rows, cols].
class ChannelNorm {
 public:
  ChannelNorm(const NodeDesc& node, const MemDesc& x, int64_t groups)  // 0: batch normalisation
      : node_(node), suffix_(Suffix(x.dtype)), state_(std::make_unique<Launches>()) {
    p_.cols = x.sizes[x.rank - 1];
    p_.examples = groups == 0 ? 1 : x.sizes[0];
    p_.groups = groups == 0 ? p_.cols : groups;
    p_.rows = x.numel() / std::max<int64_t>(1, p_.examples * p_.cols);
    p_.is_rstd = groups == 0 ? 0 : 1;
    p_.is_wide = node.outputs.back().dtype == x.dtype ? 0 : 1;
    const int64_t columns = 16 / SizeOf(x.dtype);  // of a thread
    p_.lanes = kernels::LanesOfRow(CeilDiv(p_.cols, columns));
    tiles_ = CeilDiv(p_.cols, p_.lanes * columns);
    // Pieces for four blocks per multiprocessor, but of several rows for each thread.
    const int64_t enough = 4 * int64_t{std::max(node.device->multiprocessors, 1)};
    const int64_t worth = CeilDiv(p_.rows, 4 * (kChannelThreads / p_.lanes));
    const int64_t pieces = std::clamp<int64_t>(enough / std::max<int64_t>(1, tiles_ * p_.examples),
                                               1, std::max<int64_t>(1, worth));
    p_.piece_rows = std::max<int64_t>(1, CeilDiv(p_.rows, pieces));
    p_.pieces = std::max<int64_t>(1, CeilDiv(p_.rows, p_.piece_rows));
    const int64_t number = SizeOf(x.dtype) == 8 ? 8 : 4;
    const int64_t partials = 2 * p_.examples * p_.pieces * p_.cols * number;
    partial_ = {static_cast<int>(node.inputs.size() + node.outputs.size())};
    stats_ = partial_ + (partials + 255) / 256 * 256;
    state_->workspace_bytes = stats_.offset + 2 * p_.examples * p_.groups * number;
  }

  ChannelNormParams& params() { return p_; }
  bool empty() const { return p_.examples * p_.rows * p_.cols == 0; }
  Place Output(int i) const { return {static_cast<int>(node_.inputs.size()) + i}; }
  Place stats() const { return stats_; }

  /// A launch over the pieces.
  Launches::Adding<ChannelNormParams> Pieces(const char* kernel) {
    return Add(kernel, tiles_ * p_.pieces * p_.examples, 1);
  }
  /// One of a warp for each of `units`.
  Launches::Adding<ChannelNormParams> Warps(const char* kernel, int64_t units) {
    return Add(kernel, units, kChannelThreads / 32);
  }
  std::unique_ptr<KernelState> Take() { return std::move(state_); }

 private:
  Launches::Adding<ChannelNormParams> Add(const char* kernel, int64_t units, unsigned per_block) {
    LaunchShape shape;
    shape.block = kChannelThreads;
    shape.grid[0] = GridFor(units, 1, per_block, *node_.device, 32);
    auto launch = state_->Add("norm/channels", StrCat(kernel, "_", suffix_), shape, p_);
    launch.Point(&ChannelNormParams::partial, partial_);
    return launch;
  }

  const NodeDesc& node_;
  std::string_view suffix_;
  std::unique_ptr<Launches> state_;
  ChannelNormParams p_;
  int64_t tiles_ = 1;
  Place partial_, stats_;
};

// Inputs x, scale, bias; outputs y, mean and var or rstd.
std::unique_ptr<KernelState> Forward(const NodeDesc& node, int64_t groups) {
  ChannelNorm norm(node, node.inputs[0], groups);
  norm.params().epsilon = node.attr<double>(ops::NormAttr::kEpsilon);
  if (norm.empty()) return norm.Take();
  norm.Pieces("channel_stats").Point(&ChannelNormParams::x, {0});
  norm.Warps("channel_finish", norm.params().examples * norm.params().groups)
      .Point(&ChannelNormParams::out_mean, norm.Output(1))
      .Point(&ChannelNormParams::out_spread, norm.Output(2))
      .Point(&ChannelNormParams::stats, norm.stats());
  norm.Pieces("channel_apply")
      .Point(&ChannelNormParams::x, {0})
      .Point(&ChannelNormParams::scale, {1})
      .Point(&ChannelNormParams::bias, {2})
      .Point(&ChannelNormParams::y, norm.Output(0))
      .Point(&ChannelNormParams::stats, norm.stats());
  return norm.Take();
}

// The first two launches of that: outputs mean and var.
std::unique_ptr<KernelState> PrepareStats(const NodeDesc& node) {
  ChannelNorm norm(node, node.inputs[0], 0);
  if (norm.empty()) return norm.Take();
  norm.Pieces("channel_stats").Point(&ChannelNormParams::x, {0});
  norm.Warps("channel_finish", norm.params().groups)
      .Point(&ChannelNormParams::out_mean, norm.Output(0))
      .Point(&ChannelNormParams::out_spread, norm.Output(1))
      .Point(&ChannelNormParams::stats, norm.stats());
  return norm.Take();
}

// Inputs g, x, scale, mean and var or rstd; outputs dx, dscale, dbias.
std::unique_ptr<KernelState> Backward(const NodeDesc& node, int64_t groups, double epsilon) {
  ChannelNorm norm(node, node.inputs[1], groups);
  norm.params().epsilon = epsilon;
  if (norm.empty()) return norm.Take();
  const auto with_inputs = [](Launches::Adding<ChannelNormParams> launch) {
    return launch.Point(&ChannelNormParams::g, {0})
        .Point(&ChannelNormParams::x, {1})
        .Point(&ChannelNormParams::scale, {2})
        .Point(&ChannelNormParams::mean, {3})
        .Point(&ChannelNormParams::spread, {4});
  };
  const ChannelNormParams& p = norm.params();
  with_inputs(norm.Pieces("channel_grad_sums"));
  with_inputs(norm.Warps("channel_grad_finish", p.examples * p.groups + p.cols))
      .Point(&ChannelNormParams::stats, norm.stats())
      .Point(&ChannelNormParams::dscale, norm.Output(1))
      .Point(&ChannelNormParams::dbias, norm.Output(2));
  with_inputs(norm.Pieces("channel_grad_apply"))
      .Point(&ChannelNormParams::stats, norm.stats())
      .Point(&ChannelNormParams::y, norm.Output(0));
  return norm.Take();
}

std::unique_ptr<KernelState> PrepareBatchNorm(const NodeDesc& node) { return Forward(node, 0); }
std::unique_ptr<KernelState> PrepareBatchNormGrad(const NodeDesc& node) {
  return Backward(node, 0, node.attr<double>(ops::NormAttr::kEpsilon));
}
std::unique_ptr<KernelState> PrepareGroupNorm(const NodeDesc& node) {
  return Forward(node, node.attr<int64_t>(ops::NormAttr::kGroups));
}
std::unique_ptr<KernelState> PrepareGroupNormGrad(const NodeDesc& node) {
  return Backward(node, node.attr<int64_t>(0), 0);
}

std::unique_ptr<KernelState> PrepareInference(const NodeDesc& node) {
  ChannelNorm norm(node, node.inputs[0], 0);
  norm.params().epsilon = node.attr<double>(ops::NormAttr::kEpsilon);
  if (norm.empty()) return norm.Take();
  norm.Pieces("channel_apply")
      .Point(&ChannelNormParams::x, {0})
      .Point(&ChannelNormParams::scale, {1})
      .Point(&ChannelNormParams::bias, {2})
      .Point(&ChannelNormParams::mean, {3})
      .Point(&ChannelNormParams::spread, {4})
      .Point(&ChannelNormParams::y, norm.Output(0));
  return norm.Take();
}

// With wider parameters a pass takes them apart: statistics, and a loop.
Support SupportsOneType(const NodeDesc& node) {
  for (const MemDesc& m : node.inputs) {
    if (m.dtype != node.inputs[0].dtype) return Support::No("needs operands of one dtype");
  }
  return NeedsDense(node);
}

// The result takes the place of x, or of the cotangent.
bool AliasFirst(const NodeDesc&, int out, int in) { return out == 0 && in == 0; }

constexpr KernelDef Def(const OpDef* op, std::unique_ptr<KernelState> (*prepare)(const NodeDesc&),
                        bool (*alias_ok)(const NodeDesc&, int, int)) {
  return {.op = op,
          .impl = "channels",
          .supports = SupportsOneType,
          .prepare = prepare,
          .launch = RunMany,
          .alias_ok = alias_ok,
          .bind = BindMany};
}

constexpr KernelDef kKernels[] = {
    Def(&ops::kBatchNorm, PrepareBatchNorm, nullptr),
    CudnnKernel<DescribeBatchNorm>(&ops::kBatchNorm),
    Def(&ops::kBatchNormGrad, PrepareBatchNormGrad, AliasFirst),
    CudnnKernel<DescribeBatchNorm>(&ops::kBatchNormGrad),
    Def(&ops::kBatchNormStats, PrepareStats, nullptr),
    Def(&ops::kBatchNormInference, PrepareInference, AliasFirst),
    Def(&ops::kGroupNorm, PrepareGroupNorm, nullptr),
    Def(&ops::kGroupNormGrad, PrepareGroupNormGrad, AliasFirst),
};

}  // namespace

std::span<const KernelDef> ChannelNormKernels() { return kKernels; }

}  // namespace ostria::cuda
