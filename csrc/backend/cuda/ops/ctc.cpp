// SPDX-License-Identifier: Apache-2.0
// ctc_loss and its gradient: kernels/loss/ctc. Lengths and labels out of range are reported, and
// the nearest ones taken.
#include "kernels/loss/ctc.h"
#include "backend/cuda/launch/launch.h"
#include "backend/cuda/ops/kernels.h"
#include "ops/common/ctc.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using kernels::CtcParams;
using ops::CtcAttr;
using ops::CtcInput;

constexpr int64_t kMost = int64_t{1} << 29;  // steps, states and classes

Support Supports(const NodeDesc& d) {
  const MemDesc &logits = d.inputs[CtcInput::kLogits], &labels = d.inputs[CtcInput::kLabels];
  for (int i = 1; i < 3; ++i) {
    if (logits.sizes[i] > kMost) return Support::No("more than 2^29 steps or classes");
  }
  if (labels.sizes[1] > kMost / 2) return Support::No("more than 2^28 labels");
  return NeedsDense(d);
}

// Chains of labels stand first in the workspace, with a multiple of 256 bytes.
int64_t ChainBytes(const CtcParams& p) { return (p.batch * p.max_labels * 4 + 255) / 256 * 256; }

template <bool grad>
std::unique_ptr<KernelState> Prepare(const NodeDesc& d) {
  auto state = std::make_unique<OneLaunch<CtcParams>>();
  const MemDesc& logits = d.inputs[CtcInput::kLogits];
  CtcParams& p = state->params;
  p.batch = logits.sizes[0];
  p.time = logits.sizes[1];
  p.classes = logits.sizes[2];
  p.max_labels = d.inputs[CtcInput::kLabels].sizes[1];
  const auto is_wide = [&](int input) { return d.inputs[input].dtype == DType::kInt64 ? 1 : 0; };
  p.wide_labels = is_wide(CtcInput::kLabels);
  p.wide_logit_lengths = is_wide(CtcInput::kLogitLengths);
  p.wide_label_lengths = is_wide(CtcInput::kLabelLengths);
  const auto blank = d.attr<int64_t>(CtcAttr::kBlank);
  p.blank = static_cast<int32_t>(blank < 0 ? blank + p.classes : blank);
  if constexpr (!grad) p.zero_infinity = d.attr<bool>(CtcAttr::kZeroInfinity) ? 1 : 0;
  state->file = "loss/ctc";
  state->function =
      StrCat(grad ? "ctc_loss_grad_double_" : "ctc_loss_double_", Suffix(logits.dtype));
  state->shape.block = kernels::kCtcThreads;
  state->shape.grid[0] = GridFor(p.batch, 1, 1, *d.device, 64);
  state->workspace_bytes =
      ChainBytes(p) + p.batch * kernels::CtcScratch(p.time, p.max_labels, grad) * 8;
  state->point = [](CtcParams* params, void* const* ptrs) {
    constexpr int kOut = grad ? CtcInput::kG + 1 : CtcInput::kG;
    params->logits = ptrs[CtcInput::kLogits];
    params->labels = ptrs[CtcInput::kLabels];
    params->logit_lengths = ptrs[CtcInput::kLogitLengths];
    params->label_lengths = ptrs[CtcInput::kLabelLengths];
    if constexpr (grad) params->g = ptrs[CtcInput::kG];
    params->dst = ptrs[kOut];
    params->chains = static_cast<int32_t*>(ptrs[kOut + 1]);
    params->scratch =
        reinterpret_cast<double*>(static_cast<char*>(ptrs[kOut + 1]) + ChainBytes(*params));
  };
  return state;
}

constexpr KernelDef Own(const OpDef& op, std::unique_ptr<KernelState> (*prepare)(const NodeDesc&)) {
  return {.op = &op,
          .impl = "states",
          .supports = Supports,
          .prepare = prepare,
          .launch = RunOne<CtcParams>,
          .bind = BindOne<CtcParams>};
}

constexpr KernelDef kKernels[] = {Own(ops::kCtcLoss, Prepare<false>),
                                  Own(ops::kCtcLossGrad, Prepare<true>)};

}  // namespace

std::span<const KernelDef> CtcKernels() { return kKernels; }

}  // namespace ostria::cuda
