// SPDX-License-Identifier: Apache-2.0
// An all_reduce as implementations see it: which tensors are reduced by which call of a transport.
// All ranks have the same attribute `calls`, so they make the same calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "backend/communicator.h"
#include "backend/kernel.h"

namespace ostria {

/// While it lives, collectives of plans that the calling thread makes are named after `graph`, the
/// same on all ranks: those that run graphs in different orders would add up what does not belong
/// together, and transports compare names. Empty: they have the names of their ops alone.
class CollectivesOf {
 public:
  explicit CollectivesOf(std::string_view graph);
  ~CollectivesOf();
  CollectivesOf(const CollectivesOf&) = delete;
  CollectivesOf& operator=(const CollectivesOf&) = delete;

 private:
  std::string_view outer_;
};
/// "all_gather of step (graph 3)", as CollectivesOf says.
std::string NameOfCollective(std::string_view op);
/// "all_reduce of 12 tensors of step (graph 3)"; of one tensor without a number.
std::string NameOfReduction(int64_t tensors);

/// Of tensors that follow each other in memory, what is between them included.
struct ReduceCall {
  size_t first = 0, end = 0;  // tensors; none of them is empty
  int64_t count = 0;          // elements
  std::string what;           // NameOfReduction
};

/// all_reduce, all_reduce_start or all_reduce_wait.
struct AllReduceNode {
  explicit AllReduceNode(const NodeDesc& d);

  DType dtype = DType::kFloat32;
  ReduceOp op = ReduceOp::kSum;
  int slot = -1;              // of a start and a wait
  std::vector<size_t> bytes;  // of result i, which reduces operand i
  std::vector<ReduceCall> calls;

  std::byte* out(void* const* ptrs, size_t i) const {
    return static_cast<std::byte*>(ptrs[bytes.size() + i]);
  }
  /// Whether the operand of a result has to be copied to it.
  bool IsCopied(void* const* ptrs, size_t i) const {
    return out(ptrs, i) != ptrs[i] && bytes[i] > 0;
  }
  /// What a gap behind result `i` of `call` has of bytes; fails where the next one is not behind
  /// it.
  size_t GapBehind(const ReduceCall& call, void* const* ptrs, size_t i) const;
  std::string Detail() const;
};

ReduceOp ReductionOf(const Attr& attr);
/// Throws Error(kDistributed) unless the group of the calling rank has as many replicas as a node
/// named `op` was traced for.
void RequireReplicas(std::string_view op, int64_t replicas, const Communicator* group);
/// Throws Error(kDistributed) unless `root` is a rank of the group.
void RequireRoot(std::string_view op, int64_t root, const Communicator* group);

}  // namespace ostria
