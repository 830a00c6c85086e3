// SPDX-License-Identifier: Apache-2.0
// Normalisations as single operations of cuDNN's. Its variances are biased and its epsilon is
// added to them, as ours; its statistics are float32, and 1 / sqrt(variance + epsilon) for all
// modes, so kernels of ours stand between where an op hands on others.
#include "backend/cuda/cudnn/nodes.h"
#include "backend/cuda/ops/kernels.h"
#include "kernels/norm/statistics.h"
#include "ops/common/attr_index.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using kernels::StatisticsParams;
using kernels::StatisticsRule;

constexpr DType kFloat = DType::kFloat32;
constexpr int kThreads = 256;

// Describes a node operand by operand: each call names the next input, then the next output.
class Norm {
 public:
  // `columns`: last axes that have a scale of their own; `rows`: whether they are normalised.
  Norm(const NodeDesc& node, std::string_view mode, const MemDesc& x, int columns, bool rows)
      : node_(node), mode_(mode), rows_(rows) {
    for (int i = x.rank - columns; i < x.rank; ++i) channels_ *= x.sizes[static_cast<size_t>(i)];
    count_ = x.numel() / channels_;
    is_image_ = !rows && (x.rank == 4 || x.rank == 5);
    spatial_ = is_image_ ? static_cast<size_t>(x.rank - 2) : 2;
  }

  Norm& Image(std::string_view role) {
    const MemDesc& m = Next();
    const int64_t c = channels_;
    const int64_t uid = is_image_ ? d_.graph.ChannelsLast(m)
                                  : d_.graph.Tensor(m.dtype, {count_, c, 1, 1}, {c, 1, c, c});
    return Passed(role, uid);
  }
  Norm& Parameter(std::string_view role) {
    return Passed(role, d_.graph.PerChannel(Next().dtype, channels_, spatial_));
  }
  // `rule`: what a kernel does to it on the way.
  Norm& Statistic(std::string_view role, StatisticsRule rule = StatisticsRule::kAsItIs) {
    const MemDesc& m = Next();
    const int64_t uid = rows_ ? d_.graph.Tensor(kFloat, {count_, 1, 1, 1}, {1, 1, 1, 1})
                              : d_.graph.PerChannel(kFloat, channels_, spatial_);
    if (m.dtype == kFloat && rule == StatisticsRule::kAsItIs) return Passed(role, uid);
    Convert(m, uid, rule);
    roles_.emplace_back(role, uid);
    d_.uids.push_back(0);
    return *this;
  }
  Norm& Epsilon(double epsilon) {
    roles_.emplace_back("epsilon", d_.graph.Scalar(kFloat, epsilon, spatial_ + 2));
    return *this;
  }

  CudnnNode Finish(GraphOp op) {
    d_.graph.Add(op, std::move(roles_), {.mode = mode_});
    return std::move(d_);
  }

 private:
  bool NextIsInput() const { return d_.uids.size() < node_.inputs.size(); }
  const MemDesc& Next() const {
    const size_t i = d_.uids.size();
    return NextIsInput() ? node_.inputs[i] : node_.outputs[i - node_.inputs.size()];
  }
  Norm& Passed(std::string_view role, int64_t uid) {
    roles_.emplace_back(role, uid);
    d_.uids.push_back(uid);
    return *this;
  }

  // A kernel between the operand and tensor `uid` in the workspace.
  void Convert(const MemDesc& m, int64_t uid, StatisticsRule rule) {
    const bool is_input = NextIsInput();
    StatisticsParams p;
    p.count = m.numel();
    p.rule = rule;
    if (rule != StatisticsRule::kAsItIs) {
      p.epsilon = static_cast<float>(node_.attr<double>(ops::NormAttr::kEpsilon));
    }
    LaunchShape shape;
    shape.block = kThreads;
    shape.grid[0] = GridFor(p.count, 1, kThreads, *node_.device);
    const std::string kernel = StrCat(is_input ? "norm_widen_" : "norm_narrow_", Suffix(m.dtype));
    const Place own{static_cast<int>(d_.uids.size())};
    const auto add = [=](Launches* all, Place scratch) {
      all->Add("norm/statistics", kernel, shape, p)
          .Point(&StatisticsParams::from, is_input ? own : scratch)
          .Point(&StatisticsParams::to, is_input ? scratch : own);
    };
    (is_input ? d_.written : d_.read).push_back({uid, add});
  }

  const NodeDesc& node_;
  std::string_view mode_;
  bool rows_, is_image_ = false;
  int64_t channels_ = 1, count_ = 0;
  size_t spatial_ = 2;
  CudnnNode d_;
  std::vector<std::pair<std::string_view, int64_t>> roles_;
};

std::string Refusal(const NodeDesc& node, const MemDesc& x) {
  if (x.dtype == DType::kFloat64) return "computes in float32";
  for (const MemDesc& m : node.inputs) {
    if (m.numel() == 0) return "has no engine for empty operands";
  }
  return {};
}

}  // namespace

CudnnNode DescribeBatchNorm(const NodeDesc& node) {
  const bool grad = node.op == &ops::kBatchNormGrad;
  const MemDesc& x = node.inputs[grad ? 1 : 0];
  if (std::string why = Refusal(node, x); !why.empty()) return CudnnNode::No(std::move(why));
  Norm norm(node, "batch", x, 1, false);
  if (!grad) {
    norm.Image("x").Parameter("scale").Parameter("bias");
    norm.Image("y").Statistic("mean").Statistic("rstd", StatisticsRule::kRstdToVariance);
    return norm.Epsilon(node.attr<double>(ops::NormAttr::kEpsilon)).Finish(GraphOp::kNormForward);
  }
  norm.Image("dy").Image("x").Parameter("scale");
  norm.Statistic("mean").Statistic("rstd", StatisticsRule::kVarianceToRstd);
  norm.Image("dx").Parameter("dscale").Parameter("dbias");
  return norm.Finish(GraphOp::kNormGrad);
}

CudnnNode DescribeRowNorm(const NodeDesc& node) {
  const bool grad = node.op == &ops::kLayerNormGrad || node.op == &ops::kRmsNormGrad;
  const bool rms = node.op == &ops::kRmsNorm || node.op == &ops::kRmsNormGrad;
  const MemDesc& x = node.inputs[grad ? 1 : 0];
  if (std::string why = Refusal(node, x); !why.empty()) return CudnnNode::No(std::move(why));
  const int64_t axes = node.attr<int64_t>(grad ? 0 : static_cast<int>(ops::NormAttr::kAxes));
  Norm norm(node, rms ? "rms" : "layer", x, static_cast<int>(axes), true);
  if (grad) {
    norm.Image("dy").Image("x").Parameter("scale");
    if (!rms) norm.Statistic("mean");
    norm.Statistic("rstd").Image("dx").Parameter("dscale");
    if (!rms) norm.Parameter("dbias");
    return norm.Finish(GraphOp::kNormGrad);
  }
  norm.Image("x").Parameter("scale");
  if (!rms) norm.Parameter("bias");
  norm.Image("y");
  if (!rms) norm.Statistic("mean");
  norm.Statistic("rstd").Epsilon(node.attr<double>(ops::NormAttr::kEpsilon));
  return norm.Finish(GraphOp::kNormForward);
}

}  // namespace ostria::cuda
