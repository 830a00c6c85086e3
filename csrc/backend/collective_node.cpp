// SPDX-License-Identifier: Apache-2.0
#include "backend/collective_node.h"

#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "core/aligned.h"
#include "ops/common/collective.h"
#include "ops/ops.h"

namespace ostria {
namespace {

thread_local std::string_view graph_of_plan;

}  // namespace

CollectivesOf::CollectivesOf(std::string_view graph) : outer_(graph_of_plan) {
  graph_of_plan = graph;
}
CollectivesOf::~CollectivesOf() { graph_of_plan = outer_; }

std::string NameOfCollective(std::string_view op) {
  return graph_of_plan.empty() ? std::string(op) : StrCat(op, " of ", graph_of_plan);
}

// The same whether a rank overlaps it or not, which depends on its batch.
std::string NameOfReduction(int64_t tensors) {
  return NameOfCollective(tensors == 1 ? "all_reduce"
                                       : StrCat("all_reduce of ", tensors, " tensors"));
}

ReduceOp ReductionOf(const Attr& attr) {
  const std::string& name = std::get<std::string>(attr);
  return name == "sum" ? ReduceOp::kSum : name == "min" ? ReduceOp::kMin : ReduceOp::kMax;
}

AllReduceNode::AllReduceNode(const NodeDesc& d)
    : dtype(d.inputs[0].dtype), op(ReductionOf(d.attrs[ops::AllReduceAttr::kReduction])) {
  if (d.op != &ops::kAllReduce) {
    slot = static_cast<int>(d.attr<int64_t>(ops::AllReduceAttr::kSlot));
  }
  for (const MemDesc& m : d.outputs) bytes.push_back(static_cast<size_t>(m.bytes()));
  std::vector<int64_t> sizes = d.attr<std::vector<int64_t>>(ops::AllReduceAttr::kCalls);
  if (sizes.empty()) sizes.assign(bytes.size(), 1);
  size_t at = 0;
  for (const int64_t tensors : sizes) {
    ReduceCall call{.first = at, .end = at, .count = 0, .what = NameOfReduction(tensors)};
    size_t all = 0;
    for (const size_t end = at + static_cast<size_t>(tensors); at < end; ++at) {
      if (bytes[at] == 0) continue;  // has no place in memory
      if (call.end == call.first) call.first = at;
      call.end = at + 1;
      all = Aligned(all) + bytes[at];
    }
    if (all == 0) continue;
    call.count = static_cast<int64_t>(all / static_cast<size_t>(SizeOf(dtype)));
    calls.push_back(std::move(call));
  }
}

size_t AllReduceNode::GapBehind(const ReduceCall& call, void* const* ptrs, size_t i) const {
  size_t next = i + 1;
  while (next < call.end && bytes[next] == 0) ++next;
  if (next >= call.end) return 0;
  const std::byte* const end = out(ptrs, i) + Aligned(bytes[i]);
  OSTRIA_CHECK(out(ptrs, next) == end, "tensors of one call do not follow each other");
  return Aligned(bytes[i]) - bytes[i];
}

std::string AllReduceNode::Detail() const {
  return StrCat(calls.size(), calls.size() == 1 ? " call" : " calls");
}

void RequireReplicas(std::string_view op, int64_t replicas, const Communicator* group) {
  const int64_t size = group == nullptr ? 1 : group->size();
  if (size == replicas) return;
  throw Error(
      ErrorCode::kDistributed, std::string(op),
      StrCat("it was traced for ", replicas, " replica(s), but ", size,
             group == nullptr ? ", outside of a distributed run, calls it" : " are in its group",
             "; trace it where it runs"));
}

void RequireRoot(std::string_view op, int64_t root, const Communicator* group) {
  const int64_t size = group == nullptr ? 1 : group->size();
  if (root < size) return;
  throw Error(ErrorCode::kDistributed, std::string(op),
              StrCat("root is rank ", root, ", but the group has ", size,
                     " rank(s); give one of 0..", size - 1));
}

}  // namespace ostria
