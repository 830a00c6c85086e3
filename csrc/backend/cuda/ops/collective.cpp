// SPDX-License-Identifier: Apache-2.0
// The collectives: NCCL does them in a stream of its own, between what comes before in the node's
// stream and what comes after, which captures take along. Where there is no group there is one
// replica, and what is not in place is copied.
#include <string>
#include <utility>
#include <vector>

#include "backend/collective_node.h"
#include "backend/cuda/nccl/rank.h"
#include "backend/cuda/ops/kernels.h"
#include "backend/cuda/stream.h"
#include "ops/common/collective.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

// The calling rank's; nullptr where there is but one replica.
std::shared_ptr<NcclRank> RankOf(std::string_view op) {
  const Communicator* c = Communicator::Current();
  if (c == nullptr) return nullptr;
  auto rank = std::static_pointer_cast<NcclRank>(c->device_handle());
  if (rank != nullptr || c->size() == 1) return rank;
  throw Error(
      ErrorCode::kNotImplemented, std::string(op),
      StrCat("rank ", c->rank(), " of ", c->size(), " has its data on a GPU, but transport '",
             c->transport(), "' reaches host memory only; make the group by Backend::Connect"));
}

template <class State>
struct Bound final : KernelState {
  std::shared_ptr<const State> plan;
  CudaStream* stream = nullptr;
};

template <class State>
std::unique_ptr<KernelState> Bind(const std::shared_ptr<const KernelState>& state,
                                  const BindContext& to) {
  auto bound = std::make_unique<Bound<State>>();
  bound->plan = std::static_pointer_cast<const State>(state);
  bound->stream = &StreamOf(to);
  return bound;
}

// --- all_reduce
// -----------------------------------------------------------------------------------

struct AllReduceState final : KernelState, AllReduceNode {
  explicit AllReduceState(const NodeDesc& d) : AllReduceNode(d), op_name(d.op->name) {}
  std::string_view op_name;
  std::string what;  // all of its calls
};

std::unique_ptr<KernelState> PrepareAllReduce(const NodeDesc& d) {
  auto s = std::make_unique<AllReduceState>(d);
  s->detail = s->Detail();
  if (!s->calls.empty()) {
    s->what = s->calls.size() == 1 ? s->calls[0].what
                                   : NameOfReduction(static_cast<int64_t>(s->bytes.size()));
  }
  return s;
}

void CopyOperands(const Bound<AllReduceState>& b, void* const* ptrs) {
  const AllReduceState& s = *b.plan;
  for (size_t i = 0; i < s.bytes.size(); ++i) {
    if (s.IsCopied(ptrs, i)) b.stream->CopyOnDevice(s.out(ptrs, i), ptrs[i], s.bytes[i]);
  }
}

// All calls of the node as one of NCCL's; when they will be done, or null where there are none.
// Gaps between tensors are added up too: whatever they hold, nobody reads it.
std::shared_ptr<const Event> Reduce(const Bound<AllReduceState>& b, void* const* ptrs) {
  const AllReduceState& s = *b.plan;
  CopyOperands(b, ptrs);
  const auto rank = RankOf(s.op_name);
  if (rank == nullptr || s.calls.empty()) return nullptr;
  const ncclDataType_t type = NcclTypeOf(s.op_name, s.dtype);
  for (const ReduceCall& call : s.calls) {
    for (size_t i = call.first; i < call.end; ++i) {
      if (s.bytes[i] > 0) s.GapBehind(call, ptrs, i);
    }
  }
  return rank->Enqueue(*b.stream, s.what, [&](ncclComm_t comm, cudaStream_t stream) {
    ncclResult_t result = ncclSuccess;
    for (const ReduceCall& call : s.calls) {
      void* const data = s.out(ptrs, call.first);
      const ncclResult_t called = Nccl().ncclAllReduce(data, data, static_cast<size_t>(call.count),
                                                       type, NcclOpOf(s.op), comm, stream);
      if (called == ncclSuccess) continue;
      result = called;
      if (called != ncclInProgress) break;
    }
    return result;
  });
}

void LaunchAllReduce(const KernelState& state, void* const* ptrs) {
  const auto& b = static_cast<const Bound<AllReduceState>&>(state);
  if (const auto done = Reduce(b, ptrs)) b.stream->WaitFor(*done);
}

void LaunchStart(const KernelState& state, void* const* ptrs) {
  const auto& b = static_cast<const Bound<AllReduceState>&>(state);
  if (auto done = Reduce(b, ptrs)) RankOf(b.plan->op_name)->Keep(b.plan->slot, std::move(done));
}

void LaunchWait(const KernelState& state, void* const* ptrs) {
  const auto& b = static_cast<const Bound<AllReduceState>&>(state);
  const auto rank = RankOf(b.plan->op_name);
  if (rank != nullptr && !b.plan->calls.empty()) b.stream->WaitFor(rank->Kept(b.plan->slot));
  CopyOperands(b, ptrs);
}

// --- Blocks
// ---------------------------------------------------------------------------------------

struct BlocksState final : KernelState {
  const OpDef* op = nullptr;
  std::string what;  // to other ranks
  DType dtype = DType::kFloat32;
  ReduceOp reduction = ReduceOp::kSum;
  int64_t replicas = 1, root = 0;
  size_t block = 0;  // bytes of one replica
};

std::unique_ptr<KernelState> PrepareBlocks(const NodeDesc& d) {
  auto s = std::make_unique<BlocksState>();
  s->op = d.op;
  s->what = NameOfCollective(d.op->name);
  s->dtype = d.inputs[0].dtype;
  s->block = static_cast<size_t>(d.inputs[0].bytes());
  if (d.op == &ops::kAllGather) {
    s->replicas = d.attr<int64_t>(ops::AllGatherAttr::kReplicas);
  } else if (d.op == &ops::kReduceScatter) {
    s->replicas = d.attr<int64_t>(ops::ReduceScatterAttr::kReplicas);
    s->reduction = ReductionOf(d.attrs[ops::ReduceScatterAttr::kReduction]);
    s->block = static_cast<size_t>(d.outputs[0].bytes());
  } else if (d.op == &ops::kReplicaPart) {
    s->replicas = d.attr<int64_t>(ops::ReplicaPartAttr::kReplicas);
    s->block = static_cast<size_t>(d.outputs[0].bytes());
  } else {
    s->root = d.attr<int64_t>(ops::BroadcastAttr::kRoot);
  }
  return s;
}

ncclResult_t Call(const BlocksState& s, const void* from, void* to, ncclComm_t comm,
                  cudaStream_t stream) {
  const NcclTable& nccl = Nccl();
  if (s.op == &ops::kAllGather) {
    return nccl.ncclAllGather(from, to, s.block, ncclUint8, comm, stream);
  }
  if (s.op == &ops::kBroadcast) {
    return nccl.ncclBroadcast(from, to, s.block, ncclUint8, static_cast<int>(s.root), comm, stream);
  }
  const size_t count = s.block / static_cast<size_t>(SizeOf(s.dtype));
  return nccl.ncclReduceScatter(from, to, count, NcclTypeOf(s.op->name, s.dtype),
                                NcclOpOf(s.reduction), comm, stream);
}

void LaunchBlocks(const KernelState& state, void* const* ptrs) {
  const auto& b = static_cast<const Bound<BlocksState>&>(state);
  const BlocksState& s = *b.plan;
  const Communicator* c = Communicator::Current();
  if (s.op == &ops::kBroadcast)
    RequireRoot(s.op->name, s.root, c);
  else
    RequireReplicas(s.op->name, s.replicas, c);
  if (s.block == 0) return;
  const auto rank = RankOf(s.op->name);
  if (rank == nullptr) {
    if (ptrs[1] != ptrs[0]) b.stream->CopyOnDevice(ptrs[1], ptrs[0], s.block);
    return;
  }
  if (s.op == &ops::kReduceScatter) NcclTypeOf(s.op->name, s.dtype);  // before anything is enqueued
  const auto done = rank->Enqueue(*b.stream, s.what, [&](ncclComm_t comm, cudaStream_t stream) {
    return Call(s, ptrs[0], ptrs[1], comm, stream);
  });
  b.stream->WaitFor(*done);
}

void LaunchPart(const KernelState& state, void* const* ptrs) {
  const auto& b = static_cast<const Bound<BlocksState>&>(state);
  const Communicator* c = Communicator::Current();
  RequireReplicas(b.plan->op->name, b.plan->replicas, c);
  const size_t rank = c == nullptr ? 0 : static_cast<size_t>(c->rank()), bytes = b.plan->block;
  const auto* all = static_cast<const std::byte*>(ptrs[0]);
  if (bytes > 0) b.stream->CopyOnDevice(ptrs[1], all + rank * bytes, bytes);
}

bool SamePlace(const NodeDesc&, int out, int in) { return out == in; }

constexpr KernelDef Reduces(const OpDef& op, LaunchFn launch) {
  return {.op = &op,
          .impl = "nccl",
          .supports = NeedsDense,
          .prepare = PrepareAllReduce,
          .launch = launch,
          .alias_ok = SamePlace,
          .bind = Bind<AllReduceState>};
}
constexpr KernelDef MovesBlocks(const OpDef& op, bool in_place) {
  return {.op = &op,
          .impl = "nccl",
          .supports = NeedsDense,
          .prepare = PrepareBlocks,
          .launch = LaunchBlocks,
          .alias_ok = in_place ? SamePlace : nullptr,
          .bind = Bind<BlocksState>};
}

constexpr KernelDef kKernels[] = {Reduces(ops::kAllReduce, LaunchAllReduce),
                                  Reduces(ops::kAllReduceStart, LaunchStart),
                                  Reduces(ops::kAllReduceWait, LaunchWait),
                                  MovesBlocks(ops::kAllGather, false),
                                  MovesBlocks(ops::kReduceScatter, false),
                                  MovesBlocks(ops::kBroadcast, true),
                                  {.op = &ops::kReplicaPart,
                                   .impl = "copy",
                                   .supports = NeedsDense,
                                   .prepare = PrepareBlocks,
                                   .launch = LaunchPart,
                                   .bind = Bind<BlocksState>}};

}  // namespace

std::span<const KernelDef> CollectiveKernels() { return kKernels; }

}  // namespace ostria::cuda
