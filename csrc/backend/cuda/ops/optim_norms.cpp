// SPDX-License-Identifier: Apache-2.0
// Updates that take norms of whole variables: LAMB and Adafactor. Variables are not joined, but
// many share each launch.
#include <algorithm>
#include <vector>

#include "backend/cuda/launch/segments.h"
#include "backend/cuda/ops/kernels.h"
#include "kernels/optim/adafactor.h"
#include "kernels/optim/lamb.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using kernels::AdafactorParams;
using kernels::AdafactorSegment;
using kernels::kUpdateThreads;
using kernels::kUpdateTile;
using kernels::LambParams;

/// Variables that share launches: parameters without pointers. `member[i]` is that of segment i.
template <class Params>
struct Batch {
  Params params;
  const UpdatePlan::Alike* kind = nullptr;
  std::vector<int> members;
};

template <class Params>
struct NormState : UpdatePlan {
  std::vector<Batch<Params>> batches;
  const char* file = "";
  std::vector<const char*> kernels;  // in order, without suffix
  std::vector<std::string> LaunchNames() const override {
    std::vector<std::string> names;
    for (size_t i = 0; i < batches.size(); ++i) {
      for (const char* kernel : kernels) names.push_back(StrCat(kernel, "_update_", suffix()));
    }
    return names;
  }
};

template <class Params>
struct BoundNorm final : KernelState {
  std::shared_ptr<const NormState<Params>> plan;
  CudaStream* stream = nullptr;
  std::vector<CUfunction> functions;
};

template <class Params>
std::unique_ptr<KernelState> Bind(const std::shared_ptr<const KernelState>& state,
                                  const BindContext& to) {
  auto bound = std::make_unique<BoundNorm<Params>>();
  bound->plan = std::static_pointer_cast<const NormState<Params>>(state);
  bound->stream = &StreamOf(to);
  for (const char* kernel : bound->plan->kernels) {
    bound->functions.push_back(StreamOf(to).cuda().Kernel(
        bound->plan->file, StrCat(kernel, "_update_", bound->plan->suffix())));
  }
  return bound;
}

// Calls add(params, variable) for every variable that has elements, in batches that hold them.
template <class Params, class Add>
void MakeBatches(NormState<Params>* state, Add add) {
  for (const UpdatePlan::Alike& kind : state->kinds) {
    bool fresh = true;
    for (const int i : kind.members) {
      if (state->numel[i] == 0) continue;
      if (fresh || state->batches.back().params.count == Params::kMaxSegments) {
        state->batches.push_back({{}, &kind, {}});
        fresh = false;
      }
      Batch<Params>& batch = state->batches.back();
      add(&batch.params, i);
      ++batch.params.count;
      batch.members.push_back(i);
    }
  }
}

template <class Params>
void CopyAllForward(const BoundNorm<Params>& bound, void* const* ptrs) {
  for (int i = 0; i < bound.plan->n; ++i) bound.plan->CopyForward(*bound.stream, ptrs, i);
}

LaunchShape Blocks(int64_t units, int64_t per_block, const CudaStream& stream) {
  LaunchShape shape;
  shape.block = kUpdateThreads;
  shape.grid[0] = GridFor(units, 1, static_cast<unsigned>(per_block), stream.cuda().props());
  return shape;
}

// --- LAMB
// -----------------------------------------------------------------------------------------

std::unique_ptr<KernelState> PrepareLamb(const NodeDesc& node) {
  auto state = std::make_unique<NormState<LambParams>>();
  state->Read(node);
  state->file = "optim/lamb";
  state->kernels = {"lamb_moments", "lamb_ratio", "lamb_move"};
  MakeBatches(state.get(), [&](LambParams* p, int i) {
    p->segments[p->count].first_tile = p->tiles;
    p->segments[p->count].n = state->numel[i];
    p->tiles += CeilDiv(state->numel[i], kUpdateTile);
  });
  for (const auto& batch : state->batches) {  // one after the other: they share it
    const int64_t numbers = 2 * batch.params.tiles + LambParams::kMaxSegments;
    state->workspace_bytes = std::max<int64_t>(state->workspace_bytes, 8 * numbers);
  }
  return state;
}

void LaunchLamb(const KernelState& state, void* const* ptrs) {
  const auto& bound = static_cast<const BoundNorm<LambParams>&>(state);
  const NormState<LambParams>& s = *bound.plan;
  CopyAllForward(bound, ptrs);
  for (const Batch<LambParams>& batch : s.batches) {
    LambParams p = batch.params;
    p.scalars = s.Scalars(*batch.kind, ptrs);
    p.rates = static_cast<double*>(s.Workspace(ptrs));
    p.parts = p.rates + LambParams::kMaxSegments;
    for (int k = 0; k < p.count; ++k) {
      const int64_t first_tile = p.segments[k].first_tile;
      p.segments[k] = s.Segment(ptrs, batch.members[k]);
      p.segments[k].first_tile = first_tile;
    }
    const LaunchShape tiles = Blocks(p.tiles, 1, *bound.stream);
    LaunchShape each = tiles;
    each.grid[0] = static_cast<unsigned>(p.count);
    LaunchKernel(*bound.stream, bound.functions[0], tiles, &p, sizeof p);
    LaunchKernel(*bound.stream, bound.functions[1], each, &p, sizeof p);
    LaunchKernel(*bound.stream, bound.functions[2], tiles, &p, sizeof p);
  }
}

// --- Adafactor
// ------------------------------------------------------------------------------------

// Numbers that a batch takes of the workspace: rates, means, sums, parts.
struct AdafactorRoom {
  int64_t means = 0, sums = 0;
  int64_t MeansAt() const { return AdafactorParams::kMaxSegments; }
  int64_t SumsAt() const { return MeansAt() + means; }
  int64_t PartsAt() const { return SumsAt() + sums; }
};

AdafactorRoom RoomOf(const AdafactorParams& p) {
  AdafactorRoom room;
  for (int i = 0; i < p.count; ++i) {
    const AdafactorSegment& s = p.segments[i];
    if (s.rows == 0) continue;
    room.means = s.first_matrix + s.count;
    room.sums = s.first_sum + s.count * CeilDiv(s.rows, kernels::kAdafactorRows) * s.cols;
  }
  return room;
}

std::unique_ptr<KernelState> PrepareAdafactor(const NodeDesc& node) {
  auto state = std::make_unique<NormState<AdafactorParams>>();
  state->Read(node);
  state->file = "optim/adafactor";
  state->kernels = {"adafactor_rows",    "adafactor_columns", "adafactor_means",
                    "adafactor_squares", "adafactor_rate",    "adafactor_move"};
  MakeBatches(state.get(), [&](AdafactorParams* p, int i) {
    const MemDesc& w = node.inputs[i];
    const AdafactorRoom room = RoomOf(*p);
    AdafactorSegment& s = p->segments[p->count];
    s.first_row = p->rows;
    s.first_block = p->blocks;
    s.first_mean = p->mean_units;
    s.first_tile = p->tiles;
    s.first_matrix = room.means;
    s.first_sum = room.sums;
    p->tiles += CeilDiv(w.numel(), kUpdateTile);
    if (w.rank < 2) {
      s.cols = w.numel();
      return;
    }
    s.rows = w.sizes[w.rank - 2];
    s.cols = w.sizes[w.rank - 1];
    s.count = w.numel() / (s.rows * s.cols);
    p->rows += s.count * s.rows;
    p->blocks += s.count * CeilDiv(s.rows, kernels::kAdafactorRows) *
                 CeilDiv(s.cols, kernels::kAdafactorColumns);
    p->mean_units += s.count * (s.cols + 1);
  });
  for (const auto& batch : state->batches) {
    const int64_t numbers = RoomOf(batch.params).PartsAt() + 2 * batch.params.tiles;
    state->workspace_bytes = std::max<int64_t>(state->workspace_bytes, 8 * numbers);
  }
  return state;
}

void LaunchAdafactor(const KernelState& state, void* const* ptrs) {
  const auto& bound = static_cast<const BoundNorm<AdafactorParams>&>(state);
  const NormState<AdafactorParams>& s = *bound.plan;
  CopyAllForward(bound, ptrs);
  for (const Batch<AdafactorParams>& batch : s.batches) {
    AdafactorParams p = batch.params;
    const AdafactorRoom room = RoomOf(p);
    p.scalars = s.Scalars(*batch.kind, ptrs);
    p.rates = static_cast<double*>(s.Workspace(ptrs));
    p.means = p.rates + room.MeansAt();
    p.sums = p.rates + room.SumsAt();
    p.parts = p.rates + room.PartsAt();
    for (int k = 0; k < p.count; ++k) {
      const kernels::UpdateSegment now = s.Segment(ptrs, batch.members[k]);
      p.segments[k].w = now.w;
      p.segments[k].g = now.g;
      p.segments[k].r = now.slots[0];
      p.segments[k].c = now.slots[1];
    }
    const int64_t warps = kUpdateThreads / 32;
    const LaunchShape tiles = Blocks(p.tiles, 1, *bound.stream);
    LaunchShape each = tiles;
    each.grid[0] = static_cast<unsigned>(p.count);
    const LaunchShape shapes[] = {Blocks(p.rows, warps, *bound.stream),
                                  Blocks(p.blocks, 1, *bound.stream),
                                  Blocks(p.mean_units, warps, *bound.stream),
                                  tiles,
                                  each,
                                  tiles};
    // Without matrices there are no moments of rows and columns.
    for (size_t k = p.rows == 0 ? 3 : 0; k < std::size(shapes); ++k) {
      LaunchKernel(*bound.stream, bound.functions[k], shapes[k], &p, sizeof p);
    }
  }
}

constexpr KernelDef kKernels[] = {
    {.op = &ops::kLambUpdate,
     .impl = "multi_tensor",
     .supports = SupportsUpdate,
     .prepare = PrepareLamb,
     .launch = LaunchLamb,
     .alias_ok = AliasUpdate,
     .bind = Bind<LambParams>},
    {.op = &ops::kAdafactorUpdate,
     .impl = "multi_tensor",
     .supports = SupportsUpdate,
     .prepare = PrepareAdafactor,
     .launch = LaunchAdafactor,
     .alias_ok = AliasUpdate,
     .bind = Bind<AdafactorParams>},
};

}  // namespace

std::span<const KernelDef> OptimNormKernels() { return kKernels; }

}  // namespace ostria::cuda
