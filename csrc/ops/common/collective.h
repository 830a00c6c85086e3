// SPDX-License-Identifier: Apache-2.0
// What the collectives share. They are ordered: never dropped, merged or computed again, and every
// rank meets them in the order of the graph. Outside of a distributed run a group has one rank, and
// they give what they are given.
#pragma once

#include <span>
#include <string_view>

#include "ir/op_def.h"

namespace ostria {
class GradContext;
class Graph;
}  // namespace ostria

namespace ostria::ops {

/// all_reduce, all_reduce_start and all_reduce_wait.
struct AllReduceAttr {
  enum : int { kReduction, kCalls, kSlot };
};
struct AllGatherAttr {
  enum : int { kReplicas };
};
struct ReduceScatterAttr {
  enum : int { kReduction, kReplicas };
};
struct ReplicaPartAttr {
  enum : int { kReplicas };
};
struct BroadcastAttr {
  enum : int { kRoot };
};

inline constexpr AttrDef kReductionAttr = {"reduction", AttrType::kString, "\"sum\""};
inline constexpr AttrDef kCallsAttr = {"calls", AttrType::kInts, "[]"};
inline constexpr AttrDef kReplicasAttr = {"replicas", AttrType::kInt, "1"};
inline constexpr Traits kCollective = {.pure = false, .ordered = true, .amp = Amp::kFp32};
inline constexpr Traits kInternalCollective = {
    .pure = false, .ordered = true, .internal = true, .amp = Amp::kFp32};

/// Whether `op` is one that all ranks take part in.
bool IsCollective(const OpDef& op);
/// all_reduce and its two halves: results are like the operands, one by one.
bool ReducesInPlace(const OpDef& op);

/// Fails unless attribute `i` is "sum", "min" or "max".
void RequireReduction(InferContext& c, int i);
/// Several tensors of one dtype that is a number come out as they went in; checks `calls`, and the
/// slot of a half.
void InferAllReduce(InferContext& c);
/// One part of axis 0, which is cut into as many as attribute `i` says.
void InferPart(InferContext& c, int i);
/// Fails unless attribute `i` of the differentiated collective is "sum": others have no gradient.
void RequireSum(const GradContext& c, int i);
/// Fails where `body`, which `what` names, holds a collective: how often it runs is for the data of
/// each rank to decide.
void RefuseCollectives(const InferContext& c, const Graph& body, std::string_view what);

}  // namespace ostria::ops
