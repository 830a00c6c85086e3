// SPDX-License-Identifier: Apache-2.0
// The collectives: the communicator of the replica that runs here does them, in host memory. An
// all_reduce is as many calls as its attribute `calls` says, each of tensors that follow each other
// in memory; all ranks have the same attribute, so they make the same calls.
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "backend/communicator.h"
#include "backend/cpu/kernels.h"
#include "base/check.h"
#include "base/error.h"
#include "core/tensor.h"
#include "ops/common/collective.h"
#include "ops/ops.h"

namespace ostria::cpu {
namespace {

ReduceOp ReductionOf(const Attr& attr) {
  const std::string& name = std::get<std::string>(attr);
  return name == "sum" ? ReduceOp::kSum : name == "min" ? ReduceOp::kMin : ReduceOp::kMax;
}

size_t Padded(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

struct Call {
  size_t first = 0, end = 0;  // tensors; none of them is empty
  int64_t count = 0;          // elements, those between the tensors included
  std::string what;
};

struct AllReduceState final : KernelState {
  DType dtype = DType::kFloat32;
  ReduceOp op = ReduceOp::kSum;
  int slot = -1;  // of a start and a wait
  std::vector<size_t> bytes;
  std::vector<Call> calls;

  std::byte* out(void* const* ptrs, size_t i) const {
    return static_cast<std::byte*>(ptrs[bytes.size() + i]);
  }
};

// The same whether a rank overlaps it or not, which depends on its batch.
std::string What(int64_t tensors) {
  return tensors == 1 ? "all_reduce" : StrCat("all_reduce of ", tensors, " tensors");
}

std::unique_ptr<KernelState> PrepareAllReduce(const NodeDesc& d) {
  auto s = std::make_unique<AllReduceState>();
  s->dtype = d.inputs[0].dtype;
  s->op = ReductionOf(d.attrs[ops::AllReduceAttr::kReduction]);
  if (d.op != &ops::kAllReduce) {
    s->slot = static_cast<int>(d.attr<int64_t>(ops::AllReduceAttr::kSlot));
  }
  for (const MemDesc& m : d.outputs) s->bytes.push_back(static_cast<size_t>(m.bytes()));
  std::vector<int64_t> sizes = d.attr<std::vector<int64_t>>(ops::AllReduceAttr::kCalls);
  if (sizes.empty()) sizes.assign(s->bytes.size(), 1);
  size_t at = 0;
  for (const int64_t tensors : sizes) {
    Call call{.first = at, .end = at};
    size_t bytes = 0;
    for (const size_t end = at + static_cast<size_t>(tensors); at < end; ++at) {
      if (s->bytes[at] == 0) continue;  // has no place in memory
      if (call.end == call.first) call.first = at;
      call.end = at + 1;
      bytes = Padded(bytes) + s->bytes[at];
    }
    if (bytes == 0) continue;
    call.count = static_cast<int64_t>(bytes / static_cast<size_t>(SizeOf(s->dtype)));
    call.what = What(tensors);
    s->calls.push_back(std::move(call));
  }
  s->detail = StrCat(s->calls.size(), s->calls.size() == 1 ? " call" : " calls");
  return s;
}

// What is not reduced where it lies is copied; the bytes between tensors become zeros.
void Gather(const AllReduceState& s, void* const* ptrs) {
  for (size_t i = 0; i < s.bytes.size(); ++i) {
    if (s.out(ptrs, i) != ptrs[i] && s.bytes[i] > 0) {
      std::memcpy(s.out(ptrs, i), ptrs[i], s.bytes[i]);
    }
  }
  for (const Call& call : s.calls) {
    std::byte* at = s.out(ptrs, call.first);
    for (size_t i = call.first; i < call.end; ++i) {
      if (s.bytes[i] == 0) continue;
      OSTRIA_CHECK(s.out(ptrs, i) == at, "tensors of one call do not follow each other");
      at += Padded(s.bytes[i]);
      if (i + 1 < call.end) {
        std::memset(s.out(ptrs, i) + s.bytes[i], 0, Padded(s.bytes[i]) - s.bytes[i]);
      }
    }
  }
}

void LaunchAllReduce(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const AllReduceState&>(state);
  Gather(s, ptrs);
  Communicator* c = Communicator::Current();
  if (c == nullptr) return;
  for (const Call& call : s.calls) {
    c->AllReduce(call.what, s.out(ptrs, call.first), call.count, s.dtype, s.op);
  }
}

void LaunchStart(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const AllReduceState&>(state);
  Gather(s, ptrs);
  Communicator* c = Communicator::Current();
  if (c == nullptr) return;
  for (const Call& call : s.calls) {
    c->Start(s.slot, call.what, s.out(ptrs, call.first), call.count, s.dtype, s.op);
  }
}

void LaunchWait(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const AllReduceState&>(state);
  if (Communicator* c = Communicator::Current(); c != nullptr) c->Wait(s.slot);
  for (size_t i = 0; i < s.bytes.size(); ++i) {
    if (s.out(ptrs, i) != ptrs[i] && s.bytes[i] > 0) {
      std::memcpy(s.out(ptrs, i), ptrs[i], s.bytes[i]);
    }
  }
}

struct BlocksState final : KernelState {
  DType dtype = DType::kFloat32;
  ReduceOp op = ReduceOp::kSum;
  int64_t replicas = 1, root = 0;
  size_t block = 0;  // bytes of one replica
  std::string_view name;
};

void RequireReplicas(const BlocksState& s) {
  const Communicator* c = Communicator::Current();
  const int64_t size = c == nullptr ? 1 : c->size();
  if (size == s.replicas) return;
  throw Error(
      ErrorCode::kDistributed, std::string(s.name),
      StrCat("it was traced for ", s.replicas, " replica(s), but ", size,
             c == nullptr ? ", outside of a distributed run, calls it" : " are in its group",
             "; trace it where it runs"));
}

std::unique_ptr<KernelState> PrepareGather(const NodeDesc& d) {
  auto s = std::make_unique<BlocksState>();
  s->replicas = d.attr<int64_t>(ops::AllGatherAttr::kReplicas);
  s->block = static_cast<size_t>(d.inputs[0].bytes());
  s->name = d.op->name;
  return s;
}

void LaunchGather(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const BlocksState&>(state);
  RequireReplicas(s);
  Communicator* c = Communicator::Current();
  auto* out = static_cast<std::byte*>(ptrs[1]);
  const auto rank = static_cast<size_t>(c == nullptr ? 0 : c->rank());
  if (s.block > 0) std::memcpy(out + rank * s.block, ptrs[0], s.block);
  if (c != nullptr) c->AllGather(s.name, out, static_cast<int64_t>(s.block));
}

std::unique_ptr<KernelState> PrepareReduceScatter(const NodeDesc& d) {
  auto s = std::make_unique<BlocksState>();
  s->dtype = d.inputs[0].dtype;
  s->op = ReductionOf(d.attrs[ops::ReduceScatterAttr::kReduction]);
  s->replicas = d.attr<int64_t>(ops::ReduceScatterAttr::kReplicas);
  s->block = static_cast<size_t>(d.outputs[0].bytes());
  s->name = d.op->name;
  s->workspace_bytes = d.inputs[0].bytes();  // the transport leaves something else in the blocks
  return s;
}

void LaunchReduceScatter(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const BlocksState&>(state);
  RequireReplicas(s);
  Communicator* c = Communicator::Current();
  if (c == nullptr) {
    if (s.block > 0) std::memcpy(ptrs[1], ptrs[0], s.block);
    return;
  }
  auto* blocks = static_cast<std::byte*>(ptrs[2]);
  const size_t bytes = s.block * static_cast<size_t>(s.replicas);
  if (bytes > 0) std::memcpy(blocks, ptrs[0], bytes);
  const int64_t count = static_cast<int64_t>(s.block) / SizeOf(s.dtype);
  c->ReduceScatter(s.name, blocks, count, s.dtype, s.op);
  const std::byte* mine = blocks + static_cast<size_t>(c->rank()) * s.block;
  if (s.block > 0) std::memcpy(ptrs[1], mine, s.block);
}

std::unique_ptr<KernelState> PrepareBroadcast(const NodeDesc& d) {
  auto s = std::make_unique<BlocksState>();
  s->root = d.attr<int64_t>(ops::BroadcastAttr::kRoot);
  s->block = static_cast<size_t>(d.outputs[0].bytes());
  s->name = d.op->name;
  return s;
}

void LaunchBroadcast(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const BlocksState&>(state);
  Communicator* c = Communicator::Current();
  const int64_t size = c == nullptr ? 1 : c->size();
  if (s.root >= size) {
    throw Error(ErrorCode::kDistributed, std::string(s.name),
                StrCat("root is rank ", s.root, ", but the group has ", size,
                       " rank(s); give one of 0..", size - 1));
  }
  if (ptrs[1] != ptrs[0] && s.block > 0) std::memcpy(ptrs[1], ptrs[0], s.block);
  if (c != nullptr) {
    c->Broadcast(s.name, ptrs[1], static_cast<int64_t>(s.block), static_cast<int>(s.root));
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
