// SPDX-License-Identifier: Apache-2.0
// Two scans: the forward one again, with what the backward body needs as further ys (the pass
// merge_scans makes it and the first one into one), and one that runs the body's gradient the other
// way, carrying the cotangents of carries and the sums of those of captures. What is stacked and
// what is computed again is decided by cost (ops/common/residuals.h).
#include "ops/common/scan_grad.h"

#include "ops/common/build.h"
#include "ops/common/control.h"
#include "ops/common/residuals.h"
#include "ops/ops.h"

namespace ostria::ops {
namespace {

// The vector-Jacobian product of a body, and which of its values the two scans exchange.
class SplitBody {
 public:
  SplitBody(const Graph& body, Body vjp, const ScanParts& parts)
      : body_(body),
        vjp_(std::move(vjp)),
        g_(*vjp_),
        recomputed_(static_cast<size_t>(g_.node_capacity())),
        needed_(static_cast<size_t>(g_.value_capacity())) {
    const std::vector<bool> again = ChooseRecomputed(g_, Question(parts));
    for (const Value v : g_.outputs()) needed_[v.id] = true;
    // From the end: whatever a backward or recomputed node reads is either stored or recomputed.
    for (NodeId n = g_.last(); n.valid(); n = g_.previous(n)) {
      const bool forward = IsForward(n);
      bool wanted = !forward;
      for (int i = 0; i < g_.num_results(n); ++i) wanted |= needed_[g_.result(n, i).id];
      if (!wanted) continue;
      if (forward && !again[n.id]) {
        for (int i = 0; i < g_.num_results(n); ++i) {
          if (needed_[g_.result(n, i).id]) stored_.push_back(g_.result(n, i));
        }
        continue;
      }
      recomputed_[n.id] = forward;
      for (int i = 0; i < g_.num_operands(n); ++i) needed_[g_.operand(n, i).id] = true;
    }
  }

  bool Needs(Value v) const { return needed_[v.id]; }
  void Store(Value v) { stored_.push_back(v); }
  /// Values of the forward body (their ids are the same in its gradient) that go from scan to scan.
  const std::vector<Value>& stored() const { return stored_; }

  /// Copies the backward and recomputed nodes into `b`; `map` holds the inputs and stored values.
  void CopyInto(Builder& b, std::vector<Value>* map) const {
    std::vector<Value> operands;
    std::vector<ValueType> types;
    for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) {
      if (IsForward(n) && !recomputed_[n.id]) continue;
      operands.clear();
      types.clear();
      for (int i = 0; i < g_.num_operands(n); ++i) {
        operands.push_back((*map)[g_.operand(n, i).id]);
      }
      for (int i = 0; i < g_.num_results(n); ++i) types.push_back(g_.type(g_.result(n, i)));
      const std::span<const Attr> attrs = g_.attrs(n);
      const NodeId m = b.graph().AddTypedNode(g_.op(n), operands, {attrs.begin(), attrs.end()},
                                              types, g_.location(n));
      for (int i = 0; i < g_.num_results(n); ++i) {
        (*map)[g_.result(n, i).id] = b.graph().result(m, i);
      }
    }
  }

 private:
  ResidualQuestion Question(const ScanParts& parts) const {
    ResidualQuestion q;
    q.forward_values = body_.value_capacity();
    q.needed.resize(needed_.size());
    q.is_given.resize(needed_.size());
    for (const Value v : g_.outputs()) q.needed[v.id] = true;
    for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) {
      for (int i = 0; !IsForward(n) && i < g_.num_operands(n); ++i) {
        q.needed[g_.operand(n, i).id] = true;
      }
    }
    for (int i = 0; i < static_cast<int>(body_.inputs().size()); ++i) {
      q.is_given[g_.inputs()[i].id] = i < parts.captures || i >= parts.first_x();
    }
    return q;
  }

  bool IsForward(NodeId n) const { return g_.result(n).id < body_.value_capacity(); }

  const Graph& body_;
  Body vjp_;
  const Graph& g_;
  std::vector<bool> recomputed_, needed_;
  std::vector<Value> stored_;
};

// The backward calls of a body's gradient as their nodes: what those do not read is not stored.
// Values of the forward body keep their ids.
Body WithoutBackwardCalls(const Body& vjp, int forward_values) {
  auto out = std::make_shared<Graph>(vjp->Clone());
  for (NodeId n = out->first(); n.valid();) {
    const NodeId next = out->next(n);
    const bool apart = out->is(n, kCall) && out->attr<bool>(n, CallAttr::kApart);
    if (out->is(n, kCall) && !apart && out->result(n).id >= forward_values) {
      const Body body = out->attr<Body>(n, CallAttr::kBody);
      const std::vector<Value> values = Inline(*out, *body, out->operands(n), n, out->location(n));
      for (int i = 0; i < out->num_results(n); ++i) {
        out->ReplaceAllUses(out->result(n, i), values[i]);
      }
      out->Erase(n);
    }
    n = next;
  }
  DropDead(*out);
  return out;
}

}  // namespace

void ScanGrad(GradContext& c) {
  Builder& b = c.b;
  const ScanParts p = PartsOf(b.graph(), c.node());
  const Body body = c.attr<Body>(ScanAttr::kBody);
  const Body vjp = WithoutBackwardCalls(c.DifferentiateBody(*body), body->value_capacity());
  SplitBody split(*body, vjp, p);
  const auto is_float = [&](Value v) { return IsFloat(vjp->dtype(v)); };
  for (int k = 0; k < p.carries; ++k) {
    const Value v = vjp->inputs()[p.captures + k];
    if (split.Needs(v)) split.Store(v);
  }

  // The forward scan, with what is stored as further ys.
  std::vector<Value> operands = b.graph().operands(c.node());
  std::vector<Value> stored;
  if (!split.stored().empty()) {
    auto forward = std::make_shared<Graph>(body->Clone());
    for (const Value v : split.stored()) {
      forward->AddOutput(StrCat("y", forward->outputs().size() - p.carries), v);
    }
    const std::vector<Value> results = b.Multi(
        kScan, operands,
        {Body(std::move(forward)), int64_t{p.captures}, int64_t{p.carries}, p.length, p.reverse});
    stored.assign(results.begin() + p.carries + p.ys, results.end());
  }

  std::vector<Value> captures(operands.begin(), operands.begin() + p.captures), carries;
  std::vector<Value> xs(operands.begin() + p.first_x(), operands.end());
  std::vector<int> float_carries, summed, sliced, given_ys;
  for (int k = 0; k < p.carries; ++k) {
    if (!is_float(vjp->inputs()[p.captures + k])) continue;
    float_carries.push_back(k);
    carries.push_back(c.cotangent(k));
  }
  for (int i = 0; i < p.captures; ++i) {
    if (!c.Needs(i) || !is_float(vjp->inputs()[i])) continue;
    summed.push_back(i);
    carries.push_back(ZerosLike(b, c.input(i)));
  }
  for (int i = 0; i < p.xs; ++i) {
    if (c.Needs(p.first_x() + i) && is_float(vjp->inputs()[p.first_x() + i])) sliced.push_back(i);
  }
  if (carries.empty() && sliced.empty()) return;
  xs.insert(xs.end(), stored.begin(), stored.end());
  for (int k = 0; k < p.ys; ++k) {
    if (!is_float(body->outputs()[p.carries + k]) || !c.HasCotangent(p.carries + k)) continue;
    given_ys.push_back(k);
    xs.push_back(c.cotangent(p.carries + k));
  }

  const std::vector<Value> results = BuildScan(
      b, captures, carries, xs, p.length, !p.reverse, [&](Builder& inner, const ScanArguments& a) {
        std::vector<Value> map(static_cast<size_t>(vjp->value_capacity()));
        const auto& in = vjp->inputs();
        for (int i = 0; i < p.captures; ++i) map[in[i].id] = a.captures[i];
        for (int i = 0; i < p.xs; ++i) map[in[p.first_x() + i].id] = a.xs[i];
        const int step = p.first_x() + p.xs, first_d = step + 1;
        map[in[step].id] = a.step;
        for (size_t i = 0; i < split.stored().size(); ++i) {
          map[split.stored()[i].id] = a.xs[p.xs + i];
        }
        for (int k = 0; k < p.carries + p.ys; ++k) {
          if (split.Needs(in[first_d + k])) {
            map[in[first_d + k].id] = Full(inner, vjp->type(in[first_d + k]), 0.0);
          }
        }
        for (size_t i = 0; i < float_carries.size(); ++i) {
          map[in[first_d + float_carries[i]].id] = a.carries[i];
        }
        for (size_t i = 0; i < given_ys.size(); ++i) {
          map[in[first_d + p.carries + given_ys[i]].id] = a.xs[p.xs + split.stored().size() + i];
        }
        split.CopyInto(inner, &map);
        ScanReturns out;
        for (const int k : float_carries) {
          out.carries.push_back(map[vjp->outputs()[p.captures + k].id]);
        }
        for (size_t i = 0; i < summed.size(); ++i) {
          out.carries.push_back(inner(
              kAdd, {a.carries[float_carries.size() + i], map[vjp->outputs()[summed[i]].id]}));
        }
        for (const int i : sliced) out.ys.push_back(map[vjp->outputs()[p.first_x() + i].id]);
        return out;
      });
  size_t at = 0;
  for (const int k : float_carries) c.Set(p.captures + k, results[at++]);
  for (const int i : summed) c.Set(i, results[at++]);
  for (const int i : sliced) c.Set(p.first_x() + i, results[at++]);
}

}  // namespace ostria::ops
