// SPDX-License-Identifier: Apache-2.0
// Multi-tensor updates. State lies in chunks in creation order and gradients and slots mirror it,
// so variables that follow each other in memory are joined at launch, as on the CPU: the number of
// launches depends on the chunks, not on the variables. What is not in place is copied first.
#include <algorithm>
#include <string_view>
#include <vector>

#include "backend/cuda/launch/launch.h"
#include "backend/cuda/launch/segments.h"
#include "backend/cuda/ops/kernels.h"
#include "kernels/optim/update.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using kernels::EmaParams;
using kernels::UpdateParams;
using kernels::UpdateRowsParams;
using kernels::UpdateRowsSegment;
using kernels::UpdateSegment;

struct UpdateState : UpdatePlan {
  struct Rows {
    int64_t cols = 0;   // of a row; 0: not updated row by row
    int64_t named = 0;  // rows of a gradient given by rows: at most, and
    int64_t begin = 0;  // where they stand in operand `rows`
    bool by_rows = false;
  };
  std::string_view op;
  std::vector<Rows> rows;
  bool lazy = false;
  // Where variables that take the same step lie beside each other, as they do unless others that
  // do not lie between them.
  std::vector<std::string> LaunchNames() const override {
    std::vector<std::string> names;
    for (const Alike& kind : kinds) {
      const int64_t by_rows = std::count_if(kind.members.begin(), kind.members.end(),
                                            [&](int i) { return rows[i].cols > 0; });
      const int64_t whole = std::ssize(kind.members) - by_rows;
      const int64_t segments = kinds.size() == 1 ? std::min<int64_t>(whole, 1) : whole;
      names.resize(names.size() + CeilDiv(segments, UpdateParams::kMaxSegments),
                   StrCat(op, "_", suffix()));
      names.resize(names.size() + CeilDiv(by_rows, UpdateRowsParams::kMaxSegments),
                   StrCat(op, "_rows_", suffix()));
    }
    return names;
  }
};

std::unique_ptr<KernelState> PrepareUpdate(const NodeDesc& node) {
  auto state = std::make_unique<UpdateState>();
  state->Read(node);
  state->op = node.op->name;
  const ops::Segments segments(state->form, node.attrs);
  state->lazy = ops::IsLazy(*node.op, node.attrs);
  int64_t begin = 0;
  for (int i = 0; i < state->n; ++i) {
    const MemDesc& w = node.inputs[i];
    UpdateState::Rows rows;
    rows.by_rows = segments.outer_rows(i) == ops::kByRows;
    if (rows.by_rows || state->lazy) {
      rows.cols = w.rank == 0 || w.sizes[0] == 0 ? w.numel() : w.numel() / w.sizes[0];
    }
    if (rows.by_rows) {
      rows.begin = begin;
      rows.named = node.inputs[state->n + i].sizes[0];
      begin += 1 + rows.named;
    }
    state->rows.push_back(rows);
  }
  return state;
}

struct BoundUpdate final : KernelState {
  std::shared_ptr<const UpdateState> plan;
  CudaStream* stream = nullptr;
  CUfunction update = nullptr, update_rows = nullptr;
};

std::unique_ptr<KernelState> BindUpdate(const std::shared_ptr<const KernelState>& state,
                                        const BindContext& to) {
  auto bound = std::make_unique<BoundUpdate>();
  bound->plan = std::static_pointer_cast<const UpdateState>(state);
  bound->stream = &StreamOf(to);
  const UpdateState& s = *bound->plan;
  CudaDevice& device = bound->stream->cuda();
  bound->update = device.Kernel("optim/update", StrCat(s.op, "_", s.suffix()));
  if (std::any_of(s.rows.begin(), s.rows.end(), [](const auto& r) { return r.cols > 0; })) {
    bound->update_rows = device.Kernel("optim/update_rows", StrCat(s.op, "_rows_", s.suffix()));
  }
  return bound;
}

// Variables that are updated row by row: each is a segment of its own.
class RowSegments {
 public:
  RowSegments(const BoundUpdate& s, const kernels::UpdateScalars& scalars) : s_(s) {
    params_.scalars = scalars;
    params_.lazy = s.plan->lazy ? 1 : 0;
  }
  void Add(UpdateRowsSegment segment) {
    if (params_.count == UpdateRowsParams::kMaxSegments) Flush();
    segment.first_group = params_.groups;
    params_.groups += CeilDiv(segment.rows, kernels::RowsOfGroup(segment.cols));
    params_.segments[params_.count++] = segment;
  }
  void Flush() {
    if (params_.groups == 0) return;
    LaunchShape shape;
    shape.block = kernels::kUpdateThreads;
    shape.grid[0] = GridFor(params_.groups, 1, 1, s_.stream->cuda().props());
    LaunchKernel(*s_.stream, s_.update_rows, shape, &params_, sizeof params_);
    params_.count = 0;
    params_.groups = 0;
  }

 private:
  const BoundUpdate& s_;
  UpdateRowsParams params_;
};

void LaunchUpdate(const KernelState& state, void* const* ptrs) {
  const auto& bound = static_cast<const BoundUpdate&>(state);
  const UpdateState& s = *bound.plan;
  const auto* named = static_cast<const int32_t*>(ptrs[s.form.groups * s.n + s.form.scalars()]);
  for (const UpdatePlan::Alike& kind : s.kinds) {
    const kernels::UpdateScalars scalars = s.Scalars(kind, ptrs);
    SegmentRuns<UpdateParams> runs(*bound.stream, bound.update, s.element, s.form.outputs() - 1);
    runs.params().scalars = scalars;
    RowSegments by_rows(bound, scalars);
    for (int i : kind.members) {
      const bool in_place = s.CopyForward(*bound.stream, ptrs, i);
      if (s.numel[i] == 0) continue;
      const UpdateSegment now = s.Segment(ptrs, i);
      const UpdateState::Rows& r = s.rows[i];
      if (r.cols == 0) {
        runs.Add(now, in_place);
        continue;
      }
      UpdateRowsSegment rows;
      rows.w = now.w;
      rows.g = now.g;
      std::copy_n(now.slots, kernels::kUpdateSlots, rows.slots);
      rows.cols = r.cols;
      rows.rows = r.by_rows ? r.named : now.n / r.cols;
      if (r.by_rows) rows.named = named + r.begin;
      if (rows.rows > 0) by_rows.Add(rows);
    }
    runs.Flush();
    by_rows.Flush();
  }
}

// --- averages of weights ------------------------------------------------------------------------

struct EmaState : KernelState {
  int64_t element = 4;
  std::vector<int64_t> numel;
  EmaParams params;
};

std::unique_ptr<KernelState> PrepareEma(const NodeDesc& node) {
  auto state = std::make_unique<EmaState>();
  state->element = SizeOf(node.inputs[0].dtype);
  for (size_t i = 0; i < node.outputs.size() / 2; ++i) {
    state->numel.push_back(node.inputs[i].numel());
  }
  state->params.momentum = node.attr<double>(0);
  state->params.overwrite = node.attr<int64_t>(1);
  return state;
}

struct BoundEma final : KernelState {
  std::shared_ptr<const EmaState> plan;
  CudaStream* stream = nullptr;
  CUfunction function = nullptr;
};

std::unique_ptr<KernelState> BindEma(const std::shared_ptr<const KernelState>& state,
                                     const BindContext& to) {
  auto bound = std::make_unique<BoundEma>();
  bound->plan = std::static_pointer_cast<const EmaState>(state);
  bound->stream = &StreamOf(to);
  bound->function = bound->stream->cuda().Kernel(
      "optim/update", bound->plan->element == 4 ? "ema_update_f32" : "ema_update_f64");
  return bound;
}

void LaunchEma(const KernelState& state, void* const* ptrs) {
  const auto& bound = static_cast<const BoundEma&>(state);
  const EmaState& s = *bound.plan;
  const size_t n = s.numel.size();
  void* const* out = ptrs + 2 * n + 2;
  SegmentRuns<EmaParams> runs(*bound.stream, bound.function, s.element, 1);
  runs.params() = s.params;
  runs.params().step = static_cast<const int64_t*>(ptrs[2 * n]);
  runs.params().commit = static_cast<const bool*>(ptrs[2 * n + 1]);
  for (size_t i = 0; i < n; ++i) {
    if (s.numel[i] == 0) continue;
    const auto bytes = static_cast<size_t>(s.numel[i] * s.element);
    for (const size_t k : {i, n + i}) {
      if (out[k] != ptrs[k]) bound.stream->CopyOnDevice(out[k], ptrs[k], bytes);
    }
    UpdateSegment now;
    now.w = out[i];
    now.g = ptrs[n + i];
    now.slots[0] = out[n + i];
    now.n = s.numel[i];
    runs.Add(now, out[i] == ptrs[i] && out[n + i] == ptrs[n + i]);
  }
  runs.Flush();
}

bool AliasEma(const NodeDesc&, int out, int in) { return out == in; }

constexpr KernelDef Elementwise(const OpDef* op) {
  return {.op = op,
          .impl = "multi_tensor",
          .supports = SupportsUpdate,
          .prepare = PrepareUpdate,
          .launch = LaunchUpdate,
          .alias_ok = AliasUpdate,
          .bind = BindUpdate};
}

constexpr KernelDef kKernels[] = {
    Elementwise(&ops::kSgdUpdate),
    Elementwise(&ops::kMomentumUpdate),
    Elementwise(&ops::kAdamUpdate),
    Elementwise(&ops::kAdagradUpdate),
    Elementwise(&ops::kRmspropUpdate),
    Elementwise(&ops::kRmspropMomentumUpdate),
    Elementwise(&ops::kRmspropCenteredUpdate),
    Elementwise(&ops::kAdadeltaUpdate),
    Elementwise(&ops::kAdamaxUpdate),
    Elementwise(&ops::kNadamUpdate),
    Elementwise(&ops::kFtrlUpdate),
    Elementwise(&ops::kLionUpdate),
    {.op = &ops::kEmaUpdate,
     .impl = "multi_tensor",
     .supports = SupportsWideFloats,
     .prepare = PrepareEma,
     .launch = LaunchEma,
     .alias_ok = AliasEma,
     .bind = BindEma},
};

}  // namespace

std::span<const KernelDef> OptimKernels() { return kKernels; }

}  // namespace ostria::cuda
