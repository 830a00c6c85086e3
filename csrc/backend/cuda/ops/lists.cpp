// SPDX-License-Identifier: Apache-2.0
// Questions about all gradients at once: two launches whatever their number, unless there are very
// many or several types.
#include <vector>

#include "backend/cuda/launch/segments.h"
#include "backend/cuda/ops/kernels.h"
#include "kernels/optim/lists.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using kernels::ListFoldParams;
using kernels::ListParams;

struct ListState : KernelState {
  /// Tensors of one type that one launch takes; pointers are set at launch.
  struct Group {
    DType dtype;
    ListParams params;
    std::vector<int> members;
    int64_t first_part = 0;
  };
  const char *parts = "", *fold = "";  // kernels
  int64_t part_bytes = 0, num_parts = 0;
  int inputs = 0;
  std::vector<Group> groups;
  std::vector<std::string> LaunchNames() const override {
    std::vector<std::string> names;
    for (const Group& group : groups) names.push_back(StrCat(parts, Suffix(group.dtype)));
    names.emplace_back(fold);
    return names;
  }
};

Support SupportsFinite(const NodeDesc& node) {
  for (const int64_t rows : node.attr<std::vector<int64_t>>(0)) {
    if (rows != 0) return Support::No("takes no outer products");
  }
  return NeedsDense(node);
}

template <bool norm>
std::unique_ptr<KernelState> Prepare(const NodeDesc& node) {
  auto state = std::make_unique<ListState>();
  state->parts = norm ? "norm_parts_" : "finite_parts_";
  state->fold = norm ? "norm_fold_f64" : "finite_fold";
  state->part_bytes = norm ? sizeof(double) : sizeof(int32_t);
  state->inputs = static_cast<int>(node.inputs.size());
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16, DType::kFloat32, DType::kFloat64}) {
    ListState::Group* group = nullptr;
    for (int i = 0; i < state->inputs; ++i) {
      const int64_t n = node.inputs[i].numel();
      if (node.inputs[i].dtype != dtype || n == 0) continue;
      if (group == nullptr || group->params.count == ListParams::kMaxSegments) {
        group = &state->groups.emplace_back();
        group->dtype = dtype;
        group->first_part = state->num_parts;
      }
      ListParams& p = group->params;
      p.segments[p.count++] = {nullptr, n, p.tiles};
      p.tiles += CeilDiv(n, kernels::kListTile);
      state->num_parts = group->first_part + p.tiles;
      group->members.push_back(i);
    }
  }
  state->workspace_bytes = state->num_parts * state->part_bytes;
  return state;
}

struct BoundList final : KernelState {
  std::shared_ptr<const ListState> plan;
  const CudaStream* stream = nullptr;
  std::vector<CUfunction> parts;  // of each group
  CUfunction fold = nullptr;
};

std::unique_ptr<KernelState> Bind(const std::shared_ptr<const KernelState>& state,
                                  const BindContext& to) {
  auto bound = std::make_unique<BoundList>();
  bound->plan = std::static_pointer_cast<const ListState>(state);
  bound->stream = &StreamOf(to);
  CudaDevice& device = StreamOf(to).cuda();
  for (const ListState::Group& group : bound->plan->groups) {
    bound->parts.push_back(
        device.Kernel("optim/lists", StrCat(bound->plan->parts, Suffix(group.dtype))));
  }
  bound->fold = device.Kernel("optim/lists", bound->plan->fold);
  return bound;
}

void Launch(const KernelState& state, void* const* ptrs) {
  const auto& bound = static_cast<const BoundList&>(state);
  const ListState& s = *bound.plan;
  void* const workspace = ptrs[s.inputs + 1];
  LaunchShape shape;
  shape.block = kernels::kListThreads;
  for (size_t i = 0; i < s.groups.size(); ++i) {
    const ListState::Group& group = s.groups[i];
    ListParams p = group.params;
    p.parts = static_cast<std::byte*>(workspace) + group.first_part * s.part_bytes;
    for (int k = 0; k < p.count; ++k) p.segments[k].x = ptrs[group.members[k]];
    shape.grid[0] = GridFor(p.tiles, 1, 1, bound.stream->cuda().props());
    LaunchKernel(*bound.stream, bound.parts[i], shape, &p, sizeof p);
  }
  const ListFoldParams fold{workspace, s.num_parts, ptrs[s.inputs]};
  shape.grid[0] = 1;
  LaunchKernel(*bound.stream, bound.fold, shape, &fold, sizeof fold);
}

constexpr KernelDef kKernels[] = {
    {.op = &ops::kAllFinite,
     .impl = "multi_tensor",
     .supports = SupportsFinite,
     .prepare = Prepare<false>,
     .launch = Launch,
     .bind = Bind},
    {.op = &ops::kGlobalNorm,
     .impl = "multi_tensor",
     .supports = NeedsDense,
     .prepare = Prepare<true>,
     .launch = Launch,
     .bind = Bind},
};

}  // namespace

std::span<const KernelDef> ListKernels() { return kKernels; }

}  // namespace ostria::cuda
