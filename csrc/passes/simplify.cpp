// SPDX-License-Identifier: Apache-2.0
// simplify: local identities: x+0, x*1, --x, chains of views, transposes, casts, slices and
// concats, reductions over axes of size 1. No rule changes a rounding; x*0 stays, since x may be
// infinite.
#include <algorithm>

#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

using Ints = std::vector<int64_t>;

class Simplifier {
 public:
  explicit Simplifier(Graph& graph) : g_(graph) {}

  bool Run() {
    bool changed = false;
    for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) {
      if (g_.num_results(n) != 1 || !g_.op(n).traits.pure || !IsUsed(g_, g_.result(n))) continue;
      const Value y = Rewrite(n);
      if (!y.valid()) continue;
      g_.ReplaceAllUses(g_.result(n), y);
      changed = true;
    }
    return changed;
  }

 private:
  /// What n's result is equal to, or nothing.
  Value Rewrite(NodeId n) {
    if (IsView(g_, n)) return View(n);
    if (g_.is(n, ops::kTranspose)) return Transpose(n);
    if (g_.is(n, ops::kCast)) return Cast(n);
    if (g_.is(n, ops::kSliceAt)) return Slice(n);
    if (g_.is(n, ops::kConcat)) return Concat(n);
    if (g_.is(n, ops::kSum) || g_.is(n, ops::kMean) || g_.is(n, ops::kMax) || g_.is(n, ops::kMin)) {
      return Reduction(n);
    }
    return Arithmetic(n);
  }

  Value Make(NodeId n, const OpDef& op, std::initializer_list<Value> inputs,
             std::vector<Attr> attrs = {}) {
    return g_.result(
        g_.AddNode(op, {inputs.begin(), inputs.size()}, std::move(attrs), g_.location(n), n));
  }
  Value Reshape(NodeId n, Value x) {
    const ValueType to = g_.type(g_.result(n));
    return g_.type(x) == to ? x : Make(n, ops::kReshape, {x}, {to.shape});
  }

  // x + 0, 0 + x, x - 0, x * 1, 1 * x, x / 1  ->  x
  // x ** 1 -> x   x ** 2 -> square x   --x -> x   x + -y -> x - y   x - -y -> x + y
  Value Arithmetic(NodeId n) {
    const Value y = g_.result(n);
    const auto neutral = [&](int i, double number) {
      return g_.type(g_.operand(n, 1 - i)) == g_.type(y) && IsUniform(g_, g_.operand(n, i), number);
    };
    if (g_.is(n, ops::kAdd) || g_.is(n, ops::kMultiply)) {
      const double number = g_.is(n, ops::kAdd) ? 0.0 : 1.0;
      for (int i : {0, 1}) {
        if (neutral(i, number)) return g_.operand(n, 1 - i);
      }
    }
    if (g_.is(n, ops::kSubtract) && neutral(1, 0.0)) return g_.operand(n, 0);
    if (g_.is(n, ops::kDivide) && neutral(1, 1.0)) return g_.operand(n, 0);
    if (g_.is(n, ops::kPow)) {
      if (neutral(1, 1.0)) return g_.operand(n, 0);
      if (neutral(1, 2.0)) return Make(n, ops::kSquare, {g_.operand(n, 0)});
    }
    if (g_.is(n, ops::kNegative)) {
      const NodeId inner = ProducedBy(g_, g_.operand(n, 0), ops::kNegative);
      if (inner.valid()) return g_.operand(inner, 0);
    }
    if (g_.is(n, ops::kAdd) || g_.is(n, ops::kSubtract)) {
      const NodeId inner = ProducedBy(g_, g_.operand(n, 1), ops::kNegative);
      if (inner.valid()) {
        return Make(n, g_.is(n, ops::kAdd) ? ops::kSubtract : ops::kAdd,
                    {g_.operand(n, 0), g_.operand(inner, 0)});
      }
    }
    return {};
  }

  // x -> view -> view  =>  x -> reshape, or x itself when it has that shape
  Value View(NodeId n) {
    const Value x = g_.operand(n, 0);
    Value root = x;
    for (NodeId p = g_.producer(root); p.valid() && IsView(g_, p); p = g_.producer(root)) {
      root = g_.operand(p, 0);
    }
    if (g_.type(root) == g_.type(g_.result(n))) return root;
    if (root != x) return Reshape(n, root);
    return Uniform(n);
  }

  // full -> reshape, transpose  =>  full of the new shape
  Value Uniform(NodeId n) {
    const NodeId full = ProducedBy(g_, g_.operand(n, 0), ops::kFull);
    if (!full.valid()) return {};
    const ValueType to = g_.type(g_.result(n));
    return Make(n, ops::kFull, {}, {to.shape, to.dtype, g_.attr<double>(full, FullAttr::kValue)});
  }

  Ints Order(NodeId n) const {
    const int rank = g_.shape(g_.operand(n, 0)).rank();
    Ints order = g_.attr<Ints>(n, 0);
    for (int64_t& a : order) a += a < 0 ? rank : 0;
    for (int i = rank - 1; order.size() < static_cast<size_t>(rank); --i) order.push_back(i);
    return order;
  }

  // x -> transpose -> transpose  =>  x -> transpose; moving only axes of size 1  =>  reshape
  Value Transpose(NodeId n) {
    const Ints order = Order(n);
    const Shape& from = g_.shape(g_.operand(n, 0));
    int64_t last = -1;
    bool moves = false;
    for (int64_t a : order) {
      if (from[static_cast<int>(a)] == Dim(1)) continue;
      moves |= a < last;
      last = a;
    }
    if (!moves) return Reshape(n, g_.operand(n, 0));
    const NodeId inner = ProducedBy(g_, g_.operand(n, 0), ops::kTranspose);
    if (!inner.valid()) return Uniform(n);
    const Ints first = Order(inner);
    Ints both;
    for (int64_t a : order) both.push_back(first[static_cast<size_t>(a)]);
    return Make(n, ops::kTranspose, {g_.operand(inner, 0)}, {both});
  }

  /// Whether every value of `from` is a value of `to`.
  static bool Holds(DType from, DType to) {
    const auto bits = [](DType t) { return static_cast<int>(SizeOf(t)) * 8; };
    if (from == to || from == DType::kBool) return true;
    if (to == DType::kBool) return false;
    if (IsFloat(from)) return IsFloat(to) && bits(from) < bits(to);
    if (IsFloat(to)) {
      const int exact = to == DType::kFloat64 ? 53 : to == DType::kFloat32 ? 24 : 8;
      return bits(from) <= exact;
    }
    const bool from_signed = KindOf(from) == DTypeKind::kSigned;
    const bool to_signed = KindOf(to) == DTypeKind::kSigned;
    return bits(from) < bits(to) && (to_signed || !from_signed);
  }

  // x -> cast A -> cast B  =>  x -> cast B, where A loses nothing of x
  Value Cast(NodeId n) {
    const Value x = g_.operand(n, 0);
    const DType to = g_.dtype(g_.result(n));
    if (g_.dtype(x) == to) return x;
    const NodeId inner = ProducedBy(g_, x, ops::kCast);
    if (!inner.valid()) return {};
    const Value root = g_.operand(inner, 0);
    if (!Holds(g_.dtype(root), g_.dtype(x))) return {};
    return g_.dtype(root) == to ? root : Make(n, ops::kCast, {root}, {to});
  }

  // x -> slice_at -> slice_at of one axis  =>  x -> slice_at;  all of x  =>  x
  Value Slice(NodeId n) {
    const AxisSlice outer = *SliceOf(g_, g_.result(n));
    if (g_.type(outer.x) == g_.type(g_.result(n))) return outer.x;
    const std::optional<AxisSlice> inner = SliceOf(g_, outer.x);
    if (!inner || inner->axis != outer.axis) return {};
    return Make(n, ops::kSliceAt, {inner->x},
                {int64_t{outer.axis}, Shape{inner->start + outer.start}, Shape{outer.size}});
  }

  // a, b -> concat -> concat(., c) along one axis  =>  concat(a, b, c), where nobody else reads it
  Value Concat(NodeId n) {
    const auto axis = [&](NodeId concat) {
      const int64_t a = g_.attr<int64_t>(concat, 0);
      return a < 0 ? a + g_.shape(g_.result(concat)).rank() : a;
    };
    if (g_.num_operands(n) == 1) return g_.operand(n, 0);
    std::vector<Value> parts;
    bool changed = false;
    for (const Value part : g_.operands(n)) {
      const NodeId inner = ProducedBy(g_, part, ops::kConcat);
      if (inner.valid() && axis(inner) == axis(n) && g_.num_uses(part) == 1 &&
          !g_.is_output(part)) {
        const std::vector<Value> its = g_.operands(inner);
        parts.insert(parts.end(), its.begin(), its.end());
        changed = true;
      } else {
        parts.push_back(part);
      }
    }
    if (!changed) return {};
    return g_.result(g_.AddNode(ops::kConcat, parts, {axis(n)}, g_.location(n), n));
  }

  // a reduction over axes of size 1  =>  reshape
  Value Reduction(NodeId n) {
    const Value x = g_.operand(n, 0);
    if (g_.dtype(x) != g_.dtype(g_.result(n))) return {};
    for (int a : ReducedAxes(g_, n)) {
      if (!(g_.shape(x)[a] == Dim(1))) return {};
    }
    return Reshape(n, x);
  }

  Graph& g_;
};

}  // namespace

bool Simplify(Graph& graph, const PassContext&) { return Simplifier(graph).Run(); }

}  // namespace ostria
