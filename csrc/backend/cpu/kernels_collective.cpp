// SPDX-License-Identifier: Apache-2.0
// The collectives: the communicator of the replica that runs here does them, in host memory.
#include <cstring>
#include <string>
#include <string_view>

#include "backend/collective_node.h"
#include "backend/cpu/kernels.h"
#include "ops/common/collective.h"
#include "ops/ops.h"

namespace ostria::cpu {
namespace {

struct AllReduceState final : KernelState, AllReduceNode {
  using AllReduceNode::AllReduceNode;
};

std::unique_ptr<KernelState> PrepareAllReduce(const NodeDesc& d) {
  auto s = std::make_unique<AllReduceState>(d);
  s->detail = s->Detail();
  return s;
}

// What is not reduced where it lies is copied; the bytes between tensors become zeros.
void Gather(const AllReduceState& s, void* const* ptrs) {
  for (size_t i = 0; i < s.bytes.size(); ++i) {
    if (s.IsCopied(ptrs, i)) std::memcpy(s.out(ptrs, i), ptrs[i], s.bytes[i]);
  }
  for (const ReduceCall& call : s.calls) {
    for (size_t i = call.first; i < call.end; ++i) {
      if (s.bytes[i] == 0) continue;
      const size_t gap = s.GapBehind(call, ptrs, i);
      if (gap > 0) std::memset(s.out(ptrs, i) + s.bytes[i], 0, gap);
    }
  }
}

void LaunchAllReduce(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const AllReduceState&>(state);
  Gather(s, ptrs);
  Communicator* c = Communicator::Current();
  if (c == nullptr) return;
  for (const ReduceCall& call : s.calls) {
    c->AllReduce(call.what, s.out(ptrs, call.first), call.count, s.dtype, s.op,
                 Communicator::CurrentOrder());
  }
}

void LaunchStart(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const AllReduceState&>(state);
  Gather(s, ptrs);
  Communicator* c = Communicator::Current();
  if (c == nullptr) return;
  for (const ReduceCall& call : s.calls) {
    c->Start(s.slot, call.what, s.out(ptrs, call.first), call.count, s.dtype, s.op,
             Communicator::CurrentOrder());
  }
}

void LaunchWait(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const AllReduceState&>(state);
  if (Communicator* c = Communicator::Current(); c != nullptr) c->Wait(s.slot);
  for (size_t i = 0; i < s.bytes.size(); ++i) {
    if (s.IsCopied(ptrs, i)) std::memcpy(s.out(ptrs, i), ptrs[i], s.bytes[i]);
  }
}

struct BlocksState final : KernelState {
  DType dtype = DType::kFloat32;
  ReduceOp op = ReduceOp::kSum;
  int64_t replicas = 1, root = 0;
  size_t block = 0;  // bytes of one replica
  std::string_view name;
  std::string what;  // to other ranks
};

std::unique_ptr<KernelState> PrepareGather(const NodeDesc& d) {
  auto s = std::make_unique<BlocksState>();
  s->replicas = d.attr<int64_t>(ops::AllGatherAttr::kReplicas);
  s->block = static_cast<size_t>(d.inputs[0].bytes());
  s->name = d.op->name;
  s->what = NameOfCollective(s->name);
  return s;
}

void LaunchGather(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const BlocksState&>(state);
  Communicator* c = Communicator::Current();
  RequireReplicas(s.name, s.replicas, c);
  auto* out = static_cast<std::byte*>(ptrs[1]);
  const auto rank = static_cast<size_t>(c == nullptr ? 0 : c->rank());
  if (s.block > 0) std::memcpy(out + rank * s.block, ptrs[0], s.block);
  if (c != nullptr) c->AllGather(s.what, out, static_cast<int64_t>(s.block));
}

std::unique_ptr<KernelState> PrepareReduceScatter(const NodeDesc& d) {
  auto s = std::make_unique<BlocksState>();
  s->dtype = d.inputs[0].dtype;
  s->op = ReductionOf(d.attrs[ops::ReduceScatterAttr::kReduction]);
  s->replicas = d.attr<int64_t>(ops::ReduceScatterAttr::kReplicas);
  s->block = static_cast<size_t>(d.outputs[0].bytes());
  s->name = d.op->name;
  s->what = NameOfCollective(s->name);
  return s;
}

void LaunchReduceScatter(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const BlocksState&>(state);
  Communicator* c = Communicator::Current();
  RequireReplicas(s.name, s.replicas, c);
  if (c == nullptr) {
    if (s.block > 0) std::memcpy(ptrs[1], ptrs[0], s.block);
    return;
  }
  const int64_t count = static_cast<int64_t>(s.block) / SizeOf(s.dtype);
  c->ReduceScatter(s.what, ptrs[0], ptrs[1], count, s.dtype, s.op, Communicator::CurrentOrder());
}

std::unique_ptr<KernelState> PreparePart(const NodeDesc& d) {
  auto s = std::make_unique<BlocksState>();
  s->replicas = d.attr<int64_t>(ops::ReplicaPartAttr::kReplicas);
  s->block = static_cast<size_t>(d.outputs[0].bytes());
  s->name = d.op->name;
  return s;
}

void LaunchPart(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const BlocksState&>(state);
  const Communicator* c = Communicator::Current();
  RequireReplicas(s.name, s.replicas, c);
  const auto rank = static_cast<size_t>(c == nullptr ? 0 : c->rank());
  const auto* all = static_cast<const std::byte*>(ptrs[0]);
  if (s.block > 0) std::memcpy(ptrs[1], all + rank * s.block, s.block);
}

std::unique_ptr<KernelState> PrepareBroadcast(const NodeDesc& d) {
  auto s = std::make_unique<BlocksState>();
  s->root = d.attr<int64_t>(ops::BroadcastAttr::kRoot);
  s->block = static_cast<size_t>(d.outputs[0].bytes());
  s->name = d.op->name;
  s->what = NameOfCollective(s->name);
  return s;
}

void LaunchBroadcast(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const BlocksState&>(state);
  Communicator* c = Communicator::Current();
  RequireRoot(s.name, s.root, c);
  if (ptrs[1] != ptrs[0] && s.block > 0) std::memcpy(ptrs[1], ptrs[0], s.block);
  if (c != nullptr) {
    c->Broadcast(s.what, ptrs[1], static_cast<int64_t>(s.block), static_cast<int>(s.root));
  }
}

bool SamePlace(const NodeDesc&, int out, int in) { return out == in; }

constexpr KernelDef kKernels[] = {
    {.op = &ops::kAllReduce,
     .impl = "communicator",
     .supports = NeedsDense,
     .prepare = PrepareAllReduce,
     .launch = LaunchAllReduce,
     .alias_ok = SamePlace},
    {.op = &ops::kAllReduceStart,
     .impl = "communicator",
     .supports = NeedsDense,
     .prepare = PrepareAllReduce,
     .launch = LaunchStart,
     .alias_ok = SamePlace},
    {.op = &ops::kAllReduceWait,
     .impl = "communicator",
     .supports = NeedsDense,
     .prepare = PrepareAllReduce,
     .launch = LaunchWait,
     .alias_ok = SamePlace},
    {.op = &ops::kAllGather,
     .impl = "communicator",
     .supports = NeedsDense,
     .prepare = PrepareGather,
     .launch = LaunchGather},
    {.op = &ops::kReduceScatter,
     .impl = "communicator",
     .supports = NeedsDense,
     .prepare = PrepareReduceScatter,
     .launch = LaunchReduceScatter},
    {.op = &ops::kReplicaPart,
     .impl = "copy",
     .supports = NeedsDense,
     .prepare = PreparePart,
     .launch = LaunchPart},
    {.op = &ops::kBroadcast,
     .impl = "communicator",
     .supports = NeedsDense,
     .prepare = PrepareBroadcast,
     .launch = LaunchBroadcast,
     .alias_ok = SamePlace},
};

}  // namespace

std::span<const KernelDef> CollectiveKernels() { return kKernels; }

}  // namespace ostria::cpu
