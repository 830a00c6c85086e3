// SPDX-License-Identifier: Apache-2.0
// row_updates: the gradient of a gathered table is scatter_add into zeros: as large as the table,
// and nearly all of it is zero. Where the update leaves a row alone whose gradient is zero, it gets
// the rows that were gathered instead, and so do the check for infinities and the norm.
#include <algorithm>
#include <string>
#include <vector>

#include "ops/common/optimizer.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

using Ints = std::vector<int64_t>;

/// One variable of an update whose gradient is a sum of scatter_adds.
struct Table {
  int variable = 0;
  Value gradient;
  std::vector<NodeId> parts;  // in the order in which they are added
  NodeId first_reader;
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
      Table table = {i, g_.operand(u.node, u.gradient(i)), {}, {}};
      const std::string why = WhyDense(u, &table);
      if (why.empty()) tables.push_back(table);
      Report(u, i,
             why.empty() ? StrCat("by rows, at most ", Ids(table), " a step") : "dense: " + why);
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

  // A variable of which rows are gathered.
  bool IsTable(Value w) const {
    if (g_.shape(w).rank() == 0) return false;
    for (const Use& use : g_.uses(w)) {
      if (g_.is(use.user, ops::kGather) && use.operand == 0 && AxisOf(use.user) == 0) return true;
    }
    return false;
  }
  int64_t AxisOf(NodeId n) const {
    const int64_t axis = g_.attr<int64_t>(n, 0);
    return axis < 0 ? axis + g_.shape(g_.operand(n, 0)).rank() : axis;
  }

  int64_t Ids(const Table& t) const {
    int64_t n = 0;
    for (NodeId part : t.parts) n += g_.shape(g_.operand(part, 1)).numel();
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
    std::string why = Collect(t->gradient, false, &t->parts);
    if (why.empty()) why = Readers(u, t);
    if (!why.empty()) return why;
    const int64_t rows = g_.shape(t->gradient)[0].value();
    if (rows <= Ids(*t)) return StrCat(Ids(*t), " ids for ", rows, " rows");
    if (rows > INT32_MAX) return StrCat(rows, " rows are more than int32 counts");
    return "";
  }

  // The scatter_adds that `v` is the sum of: a chain, since the order of additions must stay.
  std::string Collect(Value v, bool is_part, std::vector<NodeId>* parts) const {
    const NodeId n = g_.producer(v);
    if (is_part && (g_.num_uses(v) > 1 || g_.is_output(v))) {
      return "a part of its gradient has another reader";
    }
    if (n.valid() && g_.is(n, ops::kScatterAdd)) {
      if (AxisOf(n) != 0 || !IsUniform(g_, g_.operand(n, 0), 0)) {
        return "its gradient is not added to zeros by rows";
      }
      parts->push_back(n);
      return "";
    }
    if (!n.valid() || !g_.is(n, ops::kAdd)) {
      return StrCat("its gradient ", is_part ? "also " : "", "comes from ",
                    n.valid() ? g_.op(n).name : "outside");
    }
    for (int i : {1, 0}) {
      const Value last = g_.operand(n, i), before = g_.operand(n, 1 - i);
      if (!ProducedBy(g_, last, ops::kScatterAdd).valid()) continue;
      if (g_.type(last) != g_.type(before)) break;
      const std::string why = Collect(before, true, parts);
      return why.empty() ? Collect(last, true, parts) : why;
    }
    return "its gradient is no chain of scatter_adds";
  }

  // Everyone who reads the gradient must take rows instead.
  std::string Readers(const Update& u, Table* t) const {
    if (g_.is_output(t->gradient)) return "its gradient is a result too";
    for (const Use& use : g_.uses(t->gradient)) {
      const OpDef& op = g_.op(use.user);
      const bool own = use.user == u.node && use.operand == u.gradient(t->variable);
      if (!own && &op != &ops::kAllFinite && &op != &ops::kGlobalNorm) {
        return StrCat(op.name, " reads its whole gradient");
      }
      if (!t->first_reader.valid() || order_[use.user.id] < order_[t->first_reader.id]) {
        t->first_reader = use.user;
      }
    }
    return "";
  }

  // zeros, ids, values -> scatter_add -> all_finite, global_norm; adagrad_update(w, ., …)
  //   =>  ids, values -> sum_rows -> all_finite, global_norm; adagrad_update(w, ., …, rows)
  void Replace(const Update& u, const std::vector<Table>& tables) {
    std::vector<Value> rows;
    std::vector<Value> sums;
    // One node for all tables, unless somebody reads one gradient before the next is there.
    int last_part = -1, first_reader = INT32_MAX;
    NodeId before;
    for (const Table& t : tables) {
      for (NodeId part : t.parts) last_part = std::max(last_part, order_[part.id]);
      if (order_[t.first_reader.id] < first_reader) {
        first_reader = order_[t.first_reader.id];
        before = t.first_reader;
      }
    }
    const std::span<const Table> all = tables;
    if (last_part < first_reader) {
      Sum(all, before, &sums, &rows);
    } else {
      for (const Table& t : all) Sum({&t, 1}, t.first_reader, &sums, &rows);
    }
    const LocationId location = g_.location(u.node);
    std::vector<Value> operands = g_.operands(u.node);
    std::vector<Attr> attrs(g_.attrs(u.node).begin(), g_.attrs(u.node).end());
    Ints& outer = std::get<Ints>(attrs[u.outer_attr]);
    outer.resize(static_cast<size_t>(u.count));
    for (size_t i = 0; i < tables.size(); ++i) {
      outer[static_cast<size_t>(tables[i].variable)] = ops::kByRows;
      operands[static_cast<size_t>(u.gradient(tables[i].variable))] = sums[i];
    }
    operands.push_back(rows.size() == 1 ? rows[0]
                                        : g_.result(g_.AddNode(ops::kConcat, rows, {int64_t{0}},
                                                               location, u.node)));
    const NodeId update = g_.AddNode(u.op, operands, std::move(attrs), location, u.node);
    for (int i = 0; i < g_.num_results(update); ++i) {
      g_.ReplaceAllUses(g_.result(u.node, i), g_.result(update, i));
    }
    g_.Erase(u.node);
    for (size_t i = 0; i < tables.size(); ++i) {
      for (const Use& use : g_.uses(tables[i].gradient)) {
        g_.SetOperand(use.user, use.operand, sums[i]);
      }
    }
  }

  void Sum(std::span<const Table> tables, NodeId before, std::vector<Value>* sums,
           std::vector<Value>* rows) {
    std::vector<Value> operands, values;
    Ints numbers, sizes;
    for (const Table& t : tables) {
      for (NodeId part : t.parts) {
        operands.push_back(g_.operand(part, 1));
        values.push_back(g_.operand(part, 2));
        numbers.push_back(static_cast<int64_t>(sizes.size()));
      }
      sizes.push_back(g_.shape(t.gradient)[0].value());
    }
    operands.insert(operands.end(), values.begin(), values.end());
    const NodeId n = g_.AddNode(ops::kSumRows, operands, {numbers, sizes},
                                g_.location(tables[0].parts[0]), before);
    for (size_t i = 0; i < tables.size(); ++i) sums->push_back(g_.result(n, static_cast<int>(i)));
    rows->push_back(g_.result(n, static_cast<int>(tables.size())));
  }

  Graph& g_;
  const PassContext& context_;
  std::vector<int> order_;
};

}  // namespace

bool RowUpdates(Graph& graph, const PassContext& context) {
  return RowUpdater(graph, context).Run();
}

}  // namespace ostria
