// SPDX-License-Identifier: Apache-2.0
// row_updates: the gradient of a gathered table is scatter_add into zeros: as large as the table,
// and nearly all of it is zero. Where the update leaves a row alone whose gradient is zero, it gets
// the rows that were gathered instead, and so do the check for infinities and the norm. What
// multiplies, divides or clips such a gradient does so with its rows.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "ops/common/optimizer.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

using Ints = std::vector<int64_t>;

/// How a gradient is made of the rows that were gathered.
struct Rows {
  Value whole;                            // the gradient, as large as the table
  std::vector<NodeId> parts;              // scatter_adds, in the order in which they are added
  NodeId pointwise;                       // or: what is computed of `of[0]`, its operand
  int operand = 0;                        // of that number,
  std::vector<std::unique_ptr<Rows>> of;  // or the sum of both of these
  std::vector<Use> readers;               // of the whole, but those that this describes
};

/// One variable of an update whose gradient is made of rows.
struct Table {
  int variable = 0;
  Rows gradient;
};

/// The rows of a gradient: their sums, and how many there are, then which.
struct Sums {
  Value sums, rows;
};

/// Positions of an update's operands and of the attributes that all of them end with.
struct Update {
  Update(const Graph& g, NodeId n)
      : node(n), op(g.op(n)), count(VariadicCount(op, g.num_operands(n))) {
    for (const InputDef& in : op.inputs) inputs += in.arity == Arity::kVariadic ? count : 1;
    outer_attr = static_cast<int>(op.attrs.size()) - 1;
    form = ops::FormOf(op);
  }
  Value weight(const Graph& g, int i) const {
    return g.operand(node, op.traits.mirror_state * count + i);
  }
  int gradient(int i) const { return op.traits.mirror_gradient * count + i; }

  NodeId node;
  const OpDef& op;
  int count, inputs = 0, outer_attr = 0;
  ops::UpdateForm form;
};

bool IsUpdate(const Graph& g, NodeId n) { return g.op(n).traits.mirror_gradient >= 0; }

class RowUpdater {
 public:
  RowUpdater(Graph& graph, const PassContext& context)
      : g_(graph), context_(context), order_(static_cast<size_t>(graph.node_capacity())) {
    int at = 0;
    for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) order_[n.id] = at++;
  }

  bool Run() {
    std::vector<NodeId> updates;
    for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) {
      if (IsUpdate(g_, n)) updates.push_back(n);
    }
    bool changed = false;
    for (NodeId n : updates) changed |= Rewrite(Update(g_, n));
    return changed;
  }

 private:
  bool Rewrite(const Update& u) {
    if (u.form.takes_rows && g_.num_operands(u.node) == u.inputs) return false;  // has rows already
    std::vector<Table> tables;
    for (int i = 0; i < u.count; ++i) {
      if (!IsTable(u.weight(g_, i))) continue;
      Table table;
      table.variable = i;
      const std::string why = WhyDense(u, &table);
      Report(u, i,
             why.empty() ? StrCat("by rows, at most ", Ids(table.gradient), " a step")
                         : "dense: " + why);
      if (why.empty()) tables.push_back(std::move(table));
    }
    if (!tables.empty()) Replace(u, tables);
    return !tables.empty();
  }

  void Report(const Update& u, int i, const std::string& what) const {
    if (context_.report == nullptr) return;
    const Value w = u.weight(g_, i);
    std::string name;
    for (const StateEntry& s : g_.state()) {
      if (s.in == w) name = s.name;
    }
    context_.report->push_back(StrCat("table ", name, " ", g_.type(w), ": ", what));
  }

  bool IsTable(Value w) const { return g_.shape(w).rank() > 0 && IsGathered(g_, w); }

  // Whether rows of `v` are gathered, here or in a body that is given it.
  static bool IsGathered(const Graph& g, Value v) {
    for (const Use& use : g.uses(v)) {
      if (g.is(use.user, ops::kGather) && use.operand == 0 && AxisOf(g, use.user) == 0) return true;
      const int input = use.operand - (g.is(use.user, ops::kCond) ? 1 : 0);
      for (const Attr& attr : g.attrs(use.user)) {
        const Body* body = std::get_if<Body>(&attr);
        if (body == nullptr || *body == nullptr || input < 0) continue;
        if (IsGathered(**body, (*body)->inputs()[static_cast<size_t>(input)])) return true;
      }
    }
    return false;
  }
  static int64_t AxisOf(const Graph& g, NodeId n) {
    const int64_t axis = g.attr<int64_t>(n, 0);
    return axis < 0 ? axis + g.shape(g.operand(n, 0)).rank() : axis;
  }

  int64_t Ids(const Rows& r) const {
    int64_t n = 0;
    for (NodeId part : r.parts) n += g_.shape(g_.operand(part, 1)).numel();
    for (const auto& child : r.of) n += Ids(*child);
    return n;
  }

  /// Why the update of the table stays dense; nothing, and the table is complete, if it need not.
  std::string WhyDense(const Update& u, Table* t) const {
    if (!ops::LeavesRows(u.op, g_.attrs(u.node))) {
      return StrCat(u.op.name, " is not exact by rows", u.form.lazy_attr < 0 ? "" : "; lazy=True");
    }
    if (ops::Segments(u.form, g_.attrs(u.node)).decays(t->variable)) {
      return "weight decay moves every row; exclude_from_weight_decay";
    }
    t->gradient.whole = g_.operand(u.node, u.gradient(t->variable));
    const std::string why = Collect({u.node, u.gradient(t->variable)}, false, &t->gradient);
    if (!why.empty()) return why;
    const int64_t rows = g_.shape(t->gradient.whole)[0].value(), ids = Ids(t->gradient);
    if (rows <= ids) return StrCat(ids, " ids for ", rows, " rows");
    if (rows > INT32_MAX) return StrCat(rows, " rows are more than int32 counts");
    return "";
  }

  // How `r->whole`, which `taker` reads, is made of rows. `is_part`: `taker` adds something to it.
  std::string Collect(Use taker, bool is_part, Rows* r) const {
    const Value v = r->whole;
    const NodeId n = g_.producer(v);
    if (std::string why = Readers(taker, is_part, r); !why.empty()) return why;
    if (n.valid() && g_.is(n, ops::kScatterAdd)) {
      if (AxisOf(g_, n) != 0 || !IsUniform(g_, g_.operand(n, 0), 0)) {
        return "its gradient is not added to zeros by rows";
      }
      r->parts = {n};
      return "";
    }
    if (const int operand = KeptZeros(n); operand >= 0) {
      r->pointwise = n;
      r->operand = operand;
      return Child({n, operand}, is_part, r);
    }
    if (!n.valid() || !g_.is(n, ops::kAdd) || g_.type(g_.operand(n, 0)) != g_.type(v) ||
        g_.type(g_.operand(n, 1)) != g_.type(v)) {
      return StrCat("its gradient ", is_part ? "also " : "", "comes from ",
                    !n.valid()             ? "outside"
                    : g_.is(n, ops::kCall) ? "a checkpoint"
                                           : g_.op(n).name);
    }
    for (const int i : {0, 1}) {
      if (std::string why = Child({n, i}, true, r); !why.empty()) return why;
    }
    Join(r);
    return "";
  }

  std::string Child(Use use, bool is_part, Rows* r) const {
    r->of.push_back(std::make_unique<Rows>());
    r->of.back()->whole = g_.operand(use.user, use.operand);
    return Collect(use, is_part, r->of.back().get());
  }

  // A scatter_add and a chain of them is a longer chain: one sum, in the same order of additions.
  static void Join(Rows* r) {
    const auto is_chain = [](const Rows& x) { return !x.parts.empty() && x.readers.empty(); };
    for (const int last : {1, 0}) {
      const Rows &part = *r->of[last], &before = *r->of[1 - last];
      if (!is_chain(part) || !is_chain(before) || part.parts.size() > 1) continue;
      r->parts = before.parts;
      r->parts.push_back(part.parts[0]);
      r->of.clear();
      return;
    }
  }

  // The operand of which a node computes every element from the same element, 0 from 0; -1: none.
  int KeptZeros(NodeId n) const {
    if (!n.valid()) return -1;
    const auto is_scalar = [&](int i) { return g_.shape(g_.operand(n, i)).rank() == 0; };
    const auto is_whole = [&](int i) {
      const Value v = g_.operand(n, i);
      return g_.producer(v).valid() && g_.type(v) == g_.type(g_.result(n));
    };
    if (g_.is(n, ops::kMultiply)) {
      for (const int i : {0, 1}) {
        if (is_whole(i) && is_scalar(1 - i)) return i;
      }
    }
    if (g_.is(n, ops::kDivide) && is_whole(0) && is_scalar(1)) return 0;
    if (g_.is(n, ops::kNegative) && is_whole(0)) return 0;
    if (g_.is(n, ops::kClip) && is_whole(0) && g_.attr<double>(n, 0) <= 0 &&
        g_.attr<double>(n, 1) >= 0)
      return 0;
    return -1;
  }

  // Everyone else who reads the gradient must take rows instead.
  std::string Readers(Use taker, bool is_part, Rows* r) const {
    if (g_.is_output(r->whole)) {
      return is_part ? "a part of its gradient has another reader" : "its gradient is a result too";
    }
    for (const Use& use : g_.uses(r->whole)) {
      if (use.user == taker.user && use.operand == taker.operand) continue;
      const OpDef& op = g_.op(use.user);
      if (&op != &ops::kAllFinite && &op != &ops::kGlobalNorm) {
        return is_part ? "a part of its gradient has another reader"
                       : StrCat(op.name, " reads its whole gradient");
      }
      r->readers.push_back(use);
    }
    return "";
  }

  // zeros, ids, values -> scatter_add -> all_finite, global_norm; adagrad_update(w, ., …)
  //   =>  ids, values -> sum_rows -> all_finite, global_norm; adagrad_update(w, ., …, rows)
  // Values that are columns of something wider (the gradient of a concat) are read there.
  void Replace(const Update& u, const std::vector<Table>& tables) {
    SumAtOnce(tables);
    const LocationId location = g_.location(u.node);
    std::vector<Value> operands = g_.operands(u.node), rows;
    std::vector<Attr> attrs(g_.attrs(u.node).begin(), g_.attrs(u.node).end());
    Ints& outer = std::get<Ints>(attrs[u.outer_attr]);
    outer.resize(static_cast<size_t>(u.count));
    for (const Table& t : tables) {
      const Sums made = Make(t.gradient);
      outer[static_cast<size_t>(t.variable)] = ops::kByRows;
      operands[static_cast<size_t>(u.gradient(t.variable))] = made.sums;
      if (made.rows.valid()) rows.push_back(made.rows);
    }
    operands.push_back(rows.size() == 1 ? rows[0]
                                        : g_.result(g_.AddNode(ops::kConcat, rows, {int64_t{0}},
                                                               location, u.node)));
    const NodeId update = g_.AddNode(u.op, operands, std::move(attrs), location, u.node);
    for (int i = 0; i < g_.num_results(update); ++i) {
      g_.ReplaceAllUses(g_.result(u.node, i), g_.result(update, i));
    }
    g_.Erase(u.node);
  }

  // One node for all tables, unless somebody reads one gradient before the next is there, or a
  // gradient is the sum of several.
  void SumAtOnce(const std::vector<Table>& tables) {
    made_.clear();
    std::vector<const Rows*> chains;
    int last_part = -1;
    NodeId before;
    for (const Table& t : tables) {
      const Rows* r = &t.gradient;
      while (r->pointwise.valid()) r = r->of[0].get();
      if (!r->of.empty()) return;
      chains.push_back(r);
      for (NodeId part : r->parts) last_part = std::max(last_part, order_[part.id]);
      const NodeId first = FirstReader(*r);
      if (!before.valid() || order_[first.id] < order_[before.id]) before = first;
    }
    if (last_part > order_[before.id]) return;
    std::vector<Value> ids, values;
    Ints numbers, sizes;
    for (const Rows* r : chains) {
      for (NodeId part : r->parts) {
        ids.push_back(g_.operand(part, 1));
        values.push_back(g_.operand(part, 2));
        numbers.push_back(static_cast<int64_t>(sizes.size()));
      }
      sizes.push_back(g_.shape(r->whole)[0].value());
    }
    const NodeId n = Sum(ids, values, numbers, sizes, g_.location(chains[0]->parts[0]), before);
    for (size_t i = 0; i < chains.size(); ++i) {
      // The rows of all tables lie in one value, in the order of the tables.
      made_[chains[i]] = {g_.result(n, static_cast<int>(i)),
                          i == 0 ? g_.result(n, static_cast<int>(chains.size())) : Value{}};
    }
  }

  NodeId FirstReader(const Rows& r) const {
    NodeId first;
    for (const Use& use : g_.uses(r.whole)) {
      if (!first.valid() || order_[use.user.id] < order_[first.id]) first = use.user;
    }
    return first;
  }

  struct Columns {
    Value whole;
    int64_t begin, count;
  };
  // What the values of a scatter_add are columns of, where their rows have one axis.
  std::optional<Columns> ColumnsOf(Value ids, Value values) const {
    const std::optional<AxisSlice> slice = SliceOf(g_, values);
    const int axis = g_.shape(ids).rank();
    if (!slice || slice->axis != axis || g_.shape(values).rank() != axis + 1) return std::nullopt;
    return Columns{slice->x, slice->start, slice->size};
  }

  NodeId Sum(const std::vector<Value>& ids, const std::vector<Value>& values, const Ints& numbers,
             const Ints& sizes, LocationId location, NodeId before) {
    std::vector<Value> operands = ids;
    Ints columns;
    bool is_cut = false;
    for (size_t i = 0; i < ids.size(); ++i) {
      const std::optional<Columns> cut = ColumnsOf(ids[i], values[i]);
      is_cut |= cut.has_value();
      operands.push_back(cut ? cut->whole : values[i]);
      columns.push_back(cut ? cut->begin : 0);
      columns.push_back(cut ? cut->count : -1);
    }
    if (!is_cut) columns.clear();
    return g_.AddNode(ops::kSumRows, operands, {numbers, sizes, columns}, location, before);
  }

  // Makes the rows of `r`, and gives them to its readers.
  Sums Make(const Rows& r) {
    Sums made;
    const auto at_once = made_.find(&r);
    if (at_once != made_.end()) {
      made = at_once->second;
    } else if (r.pointwise.valid()) {
      made = Make(*r.of[0]);
      std::vector<Value> operands = g_.operands(r.pointwise);
      operands[static_cast<size_t>(r.operand)] = made.sums;
      const std::span<const Attr> attrs = g_.attrs(r.pointwise);
      made.sums = g_.result(g_.AddNode(g_.op(r.pointwise), operands, {attrs.begin(), attrs.end()},
                                       g_.location(r.pointwise), r.pointwise));
    } else {
      std::vector<Value> ids, values;
      NodeId before = FirstReader(r);
      LocationId location = g_.location(r.whole);
      for (const auto& child : r.of) {  // each summed by itself first, as in the whole
        const Sums part = Make(*child);
        before = g_.producer(r.whole);
        const Ints end = {g_.shape(part.rows)[0].value()};
        ids.push_back(g_.result(g_.AddNode(ops::kSlice, std::vector{part.rows},
                                           {Ints{1}, end, Ints{1}}, location, before)));
        values.push_back(part.sums);
      }
      for (NodeId part : r.parts) {
        ids.push_back(g_.operand(part, 1));
        values.push_back(g_.operand(part, 2));
        location = g_.location(r.parts[0]);
      }
      const NodeId n =
          Sum(ids, values, Ints(ids.size(), 0), {g_.shape(r.whole)[0].value()}, location, before);
      made = {g_.result(n, 0), g_.result(n, 1)};
    }
    for (const Use& use : r.readers) g_.SetOperand(use.user, use.operand, made.sums);
    return made;
  }

  Graph& g_;
  const PassContext& context_;
  std::vector<int> order_;
  std::unordered_map<const Rows*, Sums> made_;  // of what was summed at once
};

}  // namespace

bool RowUpdates(Graph& graph, const PassContext& context) {
  return RowUpdater(graph, context).Run();
}

}  // namespace ostria
