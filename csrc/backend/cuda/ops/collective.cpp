// SPDX-License-Identifier: Apache-2.0
// The collectives of a group of one replica: what is not in place is copied. Larger groups need a
// transport between GPUs, which is not there yet; a step that meets one is refused before it runs.
#include <utility>
#include <vector>

#include "backend/communicator.h"
#include "backend/cuda/ops/kernels.h"
#include "backend/cuda/stream.h"
#include "ops/common/collective.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

struct CopiesState : KernelState {
  std::string_view op;
  std::vector<size_t> bytes;  // of operand i, which result i is
};

struct BoundCopies final : KernelState {
  std::shared_ptr<const CopiesState> plan;
  CudaStream* stream = nullptr;
};

Support Supports(const NodeDesc& d) {
  int64_t replicas = 1;
  if (d.op == &ops::kAllGather) replicas = d.attr<int64_t>(ops::AllGatherAttr::kReplicas);
  if (d.op == &ops::kReduceScatter) replicas = d.attr<int64_t>(ops::ReduceScatterAttr::kReplicas);
  if (replicas > 1) {
    return Support::No("is for one replica, not ", replicas, "; replicas on GPUs need NCCL");
  }
  if (d.op == &ops::kBroadcast && d.attr<int64_t>(ops::BroadcastAttr::kRoot) != 0) {
    return Support::No("is for one replica, of rank 0; replicas on GPUs need NCCL");
  }
  return NeedsDense(d);
}

std::unique_ptr<KernelState> Prepare(const NodeDesc& d) {
  auto state = std::make_unique<CopiesState>();
  state->op = d.op->name;
  for (const MemDesc& m : d.outputs) state->bytes.push_back(static_cast<size_t>(m.bytes()));
  return state;
}

std::unique_ptr<KernelState> Bind(const std::shared_ptr<const KernelState>& state,
                                  const BindContext& to) {
  auto bound = std::make_unique<BoundCopies>();
  bound->plan = std::static_pointer_cast<const CopiesState>(state);
  bound->stream = &StreamOf(to);
  return bound;
}

void Launch(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const BoundCopies&>(state);
  const Communicator* c = Communicator::Current();
  if (c != nullptr && c->size() > 1) {
    throw Error(ErrorCode::kNotImplemented, std::string(s.plan->op),
                StrCat("rank ", c->rank(), " of ", c->size(),
                       ": replicas on GPUs need NCCL, which is not built in; use devices "
                       "'cpu:0', 'cpu:1', …"));
  }
  const size_t n = s.plan->bytes.size();
  for (size_t i = 0; i < n; ++i) {
    if (ptrs[n + i] != ptrs[i] && s.plan->bytes[i] > 0) {
      s.stream->CopyOnDevice(ptrs[n + i], ptrs[i], s.plan->bytes[i]);
    }
  }
}

bool SamePlace(const NodeDesc&, int out, int in) { return out == in; }

constexpr KernelDef Of(const OpDef& op) {
  return {.op = &op,
          .impl = "one_replica",
          .supports = Supports,
          .prepare = Prepare,
          .launch = Launch,
          .alias_ok = SamePlace,
          .bind = Bind};
}

constexpr KernelDef kKernels[] = {Of(ops::kAllReduce),     Of(ops::kAllReduceStart),
                                  Of(ops::kAllReduceWait), Of(ops::kAllGather),
                                  Of(ops::kReduceScatter), Of(ops::kBroadcast)};

}  // namespace

std::span<const KernelDef> CollectiveKernels() { return kKernels; }

}  // namespace ostria::cuda
