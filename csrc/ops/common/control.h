// SPDX-License-Identifier: Apache-2.0
// What the control ops share: their layouts, and how to build a scan from C++. Bodies are closed: a
// value from outside is an operand of the node and an input of the body (a capture).
#pragma once

#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "ir/builder.h"

namespace ostria::ops {

/// scan.cpp says what lies where.
struct ScanAttr {
  enum : int { kBody, kCaptures, kCarries, kLength, kReverse };
};
struct CallAttr {
  enum : int { kBody, kVjp, kRecompute, kApart };
};
struct CondAttr {
  enum : int { kThen, kElse };
};
struct WhileAttr {
  enum : int { kCondition, kBody, kCaptures, kMaxSteps };
};

/// The type of the step number that bodies of loops take as their last input.
inline const ValueType kStepType{DType::kInt64, {}};

/// The parts of one scan node, as counts into its operands, results, body inputs and body outputs.
struct ScanParts {
  int captures = 0, carries = 0, xs = 0, ys = 0;
  int64_t length = 0;
  bool reverse = false;
  int first_x() const { return captures + carries; }
};
ScanParts PartsOf(std::span<const Attr> attrs, int num_operands);
inline ScanParts PartsOf(const Graph& graph, NodeId scan) {
  return PartsOf(graph.attrs(scan), graph.num_operands(scan));
}

/// What a scan's body is given, as values of the body's own graph.
struct ScanArguments {
  std::vector<Value> captures, carries, xs;  // xs: one row each
  Value step;                                // int64[]: the row, counted down when reversed
};
/// What it returns: new carries (of the types of the old) and one row of each stacked result.
struct ScanReturns {
  std::vector<Value> carries, ys;
};

/// Adds a scan over `length` rows to `b`: `body` builds one step with its Builder. Returns the last
/// carries, then the stacked ys. Nothing of `b`'s graph may be used in the body but what is given.
std::vector<Value> BuildScan(
    Builder& b, std::span<const Value> captures, std::span<const Value> carries,
    std::span<const Value> xs, int64_t length, bool reverse,
    const std::function<ScanReturns(Builder& body, const ScanArguments&)>& body);

/// Input `i` of `body` must be like `given`; `what` names the body in messages, `role` the input.
void RequireBodyInput(const InferContext& c, const Graph& body, int i, const ValueType& given,
                      std::string_view what, std::string_view role);
/// call and fused: the inputs are those of the body, the outputs become the op's.
void InferBody(InferContext& c, const Body& body);
/// The new value of carry `k` must be of the old one's type.
void RequireCarry(const InferContext& c, int k, std::string_view name, const ValueType& was,
                  const ValueType& became);

/// Whether a run of the node may be refused because of the data: its op, or one in a body.
bool ChecksData(const Graph& graph, NodeId n);
/// The same of any node of a body.
bool ChecksData(const Graph& body);

/// A copy of `body` with the outputs of which `keep` says so, without the nodes that only the
/// others needed.
Body KeepOutputs(const Graph& body, const std::vector<bool>& keep);
/// Removes the nodes that no output or state needs, effects excepted; whether there were any.
bool DropDead(Graph& graph);
/// `value`, whose cotangent is that of `source`, a value of the same type: how a body reads what it
/// wrote into a variable, so that the derivative by the variable counts it.
Value ReadAs(Builder& b, Value value, Value source);
/// Operations of one run of the body.
double BodyFlops(const Graph& body);

}  // namespace ostria::ops
