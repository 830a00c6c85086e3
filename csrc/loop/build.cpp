// SPDX-License-Identifier: Apache-2.0
// Three steps: take composite ops apart, find for every value which axes of the space its axes are,
// emit instructions. The space is the shape of the largest value.
#include "loop/build.h"

#include <algorithm>
#include <cmath>

#include "ir/builder.h"
#include "ops/common/random.h"
#include "ops/common/reduce.h"
#include "ops/common/scalar.h"
#include "ops/common/slice.h"
#include "ops/ops.h"

namespace ostria {
namespace {

constexpr int kMostNodes = 4096;  // of a group taken apart
constexpr int kReduceAxisAttr = 0, kReduceKeepdimsAttr = 1;

using ops::DropoutAttr;
using ops::DropoutInput;

struct Unfit {
  std::string why;
};
template <class... Args>
[[noreturn]] void Refuse(const Args&... args) {
  throw Unfit{StrCat(args...)};
}

struct FoldOp {
  const OpDef* op;
  LoopFold fold;
};
constexpr FoldOp kFolds[] = {{&ops::kSum, LoopFold::kSum},
                             {&ops::kMean, LoopFold::kSum},
                             {&ops::kProd, LoopFold::kProd},
                             {&ops::kMax, LoopFold::kMax},
                             {&ops::kMin, LoopFold::kMin}};

const FoldOp* FoldOf(const Graph& g, NodeId n) {
  for (const FoldOp& f : kFolds) {
    if (g.is(n, *f.op)) return &f;
  }
  return nullptr;
}

// The same elements in the same order, whatever axes of size 1 are added or dropped.
bool IsAxisMove(const Graph& g, NodeId n) { return g.op(n).traits.view && g.num_operands(n) == 1; }

bool IsPrimitive(const Graph& g, NodeId n) {
  const OpDef& op = g.op(n);
  return op.scalar || IsAxisMove(g, n) || FoldOf(g, n) != nullptr || &op == &ops::kCast ||
         &op == &ops::kBroadcastTo || &op == &ops::kFull || &op == &ops::kIota ||
         &op == &ops::kOneHot || &op == &ops::kDimProduct || &op == &ops::kConstant ||
         &op == &ops::kDropout || &op == &ops::kSlice;
}

void TakeApart(Graph& g) {
  for (NodeId n = g.first(); n.valid();) {
    const NodeId next = g.next(n);
    if (IsPrimitive(g, n)) {
      n = next;
      continue;
    }
    const OpDef& op = g.op(n);
    if (op.decompose == nullptr || !op.traits.pure) Refuse(op.name, " is no loop");
    if (g.num_nodes() > kMostNodes) Refuse("more than ", kMostNodes, " operations");
    const NodeId before = g.previous(n);
    Builder b(g, g.location(n), n);
    const std::vector<Value> operands = g.operands(n);
    const std::vector<Attr> attrs(g.attrs(n).begin(), g.attrs(n).end());
    const std::vector<Value> results = op.decompose(b, operands, attrs);
    for (int i = 0; i < g.num_results(n); ++i) g.ReplaceAllUses(g.result(n, i), results[i]);
    g.Erase(n);
    n = before.valid() ? g.next(before) : g.first();
  }
}

std::vector<int64_t> SizesOf(const Graph& g, Value v) {
  std::vector<int64_t> out;
  for (Dim d : g.shape(v)) out.push_back(d.value());
  return out;
}

void DropUnused(Graph& g) {
  for (NodeId n = g.last(); n.valid();) {
    const NodeId previous = g.previous(n);
    bool used = false;
    for (int i = 0; i < g.num_results(n); ++i) {
      used |= g.num_uses(g.result(n, i)) > 0 || g.is_output(g.result(n, i));
    }
    if (!used) g.Erase(n);
    n = previous;
  }
}

class LoopBuilder {
 public:
  explicit LoopBuilder(Graph& g) : g_(g), maps_(static_cast<size_t>(g.value_capacity())) {}

  LoopProgram Run() {
    ChooseSpace();
    FindMaps();
    ChooseColumns();
    EmitAll();
    return Tidy();
  }

 private:
  // Per axis of a value: its axis of the space, -1 where its size is 1. Empty map: not known yet.
  struct Map {
    bool known = false;
    std::vector<int> axes;
  };

  // Only the key of draws: it is read whole, wherever the loop is.
  bool IsKey(Value v) const {
    const std::vector<Use> uses = g_.uses(v);
    return !g_.is_output(v) && std::all_of(uses.begin(), uses.end(), [&](const Use& use) {
      return g_.is(use.user, ops::kDropout) && use.operand == DropoutInput::kKey;
    });
  }

  // An input with larger rows than the loop has: all that is read of it is one leading slice, whose
  // elements lie where the input's strides say.
  bool IsWider(Value v) const {
    if (g_.producer(v).valid() || g_.num_uses(v) == 0 || g_.is_output(v)) return false;
    const std::vector<Use> uses = g_.uses(v);
    return std::all_of(uses.begin(), uses.end(), [&](const Use& use) {
      return ops::IsLeadingSlice(g_, use.user) &&
             g_.type(g_.result(use.user)) == g_.type(g_.result(uses[0].user));
    });
  }

  template <class Fn>
  void ForEachValue(Fn&& fn) const {
    for (Value v : g_.inputs()) {
      if ((g_.num_uses(v) > 0 || g_.is_output(v)) && !IsKey(v) && !IsWider(v)) fn(v);
    }
    for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) {
      for (int i = 0; i < g_.num_results(n); ++i) fn(g_.result(n, i));
    }
  }

  void ChooseSpace() {
    int64_t most = 0;
    ForEachValue([&](Value v) {
      const std::vector<int64_t> sizes = SizesOf(g_, v);
      int64_t n = 1;
      for (int64_t s : sizes) n *= s;
      if (n == 0) Refuse("a value is empty");
      if (n > most || (n == most && sizes.size() > p_.sizes.size())) {
        most = n;
        p_.sizes = sizes;
      }
    });
    // Where nothing covers the space, what is broadcast together does.
    ForEachValue([&](Value v) {
      const size_t rank = static_cast<size_t>(g_.shape(v).rank());
      if (rank > p_.sizes.size()) p_.sizes.insert(p_.sizes.begin(), rank - p_.sizes.size(), 1);
    });
    ForEachValue([&](Value v) {
      const std::vector<int64_t> sizes = SizesOf(g_, v);
      if (sizes.size() > p_.sizes.size()) return;
      const size_t missing = p_.sizes.size() - sizes.size();
      for (size_t d = 0; d < sizes.size(); ++d) {
        if (p_.sizes[missing + d] == 1) p_.sizes[missing + d] = sizes[d];
      }
    });
    ForEachValue([&](Value v) {
      const std::vector<int64_t> sizes = SizesOf(g_, v);
      if (sizes != p_.sizes) return;
      std::vector<int> axes;
      for (int d = 0; d < p_.rank(); ++d) axes.push_back(d);
      Know(v, std::move(axes));
    });
  }

  bool Know(Value v, std::vector<int> axes) {
    Map& m = maps_[v.id];
    const std::vector<int64_t> sizes = SizesOf(g_, v);
    for (size_t d = 0; d < sizes.size(); ++d) {
      if (sizes[d] == 1) {
        axes[d] = -1;
      } else if (axes[d] < 0 || p_.sizes[axes[d]] != sizes[d]) {
        Refuse("a value of shape ", g_.shape(v), " does not lie in the space [",
               Join(p_.sizes, ", "), "]");
      }
    }
    if (m.known && m.axes != axes) {
      Refuse("a value of shape ", g_.shape(v), " is wanted along different axes");
    }
    const bool news = !m.known;
    m = {true, std::move(axes)};
    return news;
  }

  // `small` is broadcast to `large` by NumPy's rule.
  bool Broadcast(Value small, Value large) {
    const size_t rs = static_cast<size_t>(g_.shape(small).rank());
    const size_t rl = static_cast<size_t>(g_.shape(large).rank());
    const Map& ml = maps_[large.id];
    const Map& ms = maps_[small.id];
    if (ml.known && !ms.known) {
      return Know(small, {ml.axes.end() - static_cast<std::ptrdiff_t>(rs), ml.axes.end()});
    }
    if (ms.known && !ml.known && rs == rl && g_.shape(small) == g_.shape(large)) {
      return Know(large, ms.axes);
    }
    return false;
  }

  bool Move(Value from, Value to) {
    if (maps_[from.id].known == maps_[to.id].known) return false;
    const bool forward = maps_[from.id].known;
    const Value known = forward ? from : to, other = forward ? to : from;
    std::vector<int> axes;  // of the sizes that are not 1, in order
    std::vector<int64_t> sizes;
    const std::vector<int64_t> known_sizes = SizesOf(g_, known), other_sizes = SizesOf(g_, other);
    for (size_t d = 0; d < known_sizes.size(); ++d) {
      if (known_sizes[d] == 1) continue;
      axes.push_back(maps_[known.id].axes[d]);
      sizes.push_back(known_sizes[d]);
    }
    std::vector<int> out(other_sizes.size(), -1);
    size_t k = 0;
    for (size_t d = 0; d < other_sizes.size(); ++d) {
      if (other_sizes[d] == 1) continue;
      if (k == sizes.size() || sizes[k] != other_sizes[d]) {
        Refuse("reshape of ", g_.shape(from), " to ", g_.shape(to), " changes the axes");
      }
      out[d] = axes[k++];
    }
    return Know(other, std::move(out));
  }

  std::vector<int> Reduced(NodeId n) const {
    return ops::Axes(g_.attr<std::vector<int64_t>>(n, kReduceAxisAttr),
                     g_.shape(g_.operand(n, 0)).rank());
  }

  bool Fold(NodeId n) {
    const Value in = g_.operand(n, 0), out = g_.result(n);
    if (!maps_[in.id].known || maps_[out.id].known) return false;
    const std::vector<int> reduced = Reduced(n);
    std::vector<int> axes;
    for (int d = 0; d < g_.shape(in).rank(); ++d) {
      const bool gone = std::find(reduced.begin(), reduced.end(), d) != reduced.end();
      if (!gone) axes.push_back(maps_[in.id].axes[d]);
      if (gone && g_.attr<bool>(n, kReduceKeepdimsAttr)) axes.push_back(-1);
    }
    return Know(out, std::move(axes));
  }

  bool Visit(NodeId n) {
    const OpDef& op = g_.op(n);
    bool news = false;
    if (op.scalar || &op == &ops::kBroadcastTo || &op == &ops::kCast) {
      for (int i = 0; i < g_.num_operands(n); ++i) {
        news |= Broadcast(g_.operand(n, i), g_.result(n));
      }
    } else if (&op == &ops::kDropout) {
      for (int i : {DropoutInput::kX, DropoutInput::kOffset}) {
        news |= Broadcast(g_.operand(n, i), g_.result(n));
      }
    } else if (FoldOf(g_, n) != nullptr) {
      news |= Fold(n);
    } else if (&op == &ops::kSlice) {
      if (!IsWider(g_.operand(n, 0))) Refuse("a slice of what the loop reads whole, or makes");
    } else if (&op == &ops::kOneHot) {
      const Map& out = maps_[g_.result(n).id];
      const Value in = g_.operand(n, 0);
      if (out.known && !maps_[in.id].known)
        news |= Know(in, {out.axes.begin(), out.axes.end() - 1});
    } else if (IsAxisMove(g_, n)) {
      news |= Move(g_.operand(n, 0), g_.result(n));
    }
    return news;
  }

  void FindMaps() {
    ForEachValue([&](Value v) {
      const std::vector<int64_t> sizes = SizesOf(g_, v);
      if (std::all_of(sizes.begin(), sizes.end(), [](int64_t s) { return s == 1; })) {
        Know(v, std::vector<int>(sizes.size(), -1));
      }
    });
    do {
      for (bool news = true; news;) {
        news = false;
        for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) news |= Visit(n);
        for (NodeId n = g_.last(); n.valid(); n = g_.previous(n)) news |= Visit(n);
      }
    } while (GuessOne());
    ForEachValue([&](Value v) {
      if (maps_[v.id].known) return;
      Refuse("nothing says which axes a value of shape ", g_.shape(v), " lies along");
    });
  }

  // What never meets a value of the whole space lies as if it were broadcast to it.
  bool GuessOne() {
    bool guessed = false;
    ForEachValue([&](Value v) {
      const std::vector<int64_t> sizes = SizesOf(g_, v);
      if (guessed || maps_[v.id].known || sizes.size() > p_.sizes.size()) return;
      std::vector<int> axes;
      const int missing = p_.rank() - static_cast<int>(sizes.size());
      for (int d = missing; d < p_.rank(); ++d) axes.push_back(d);
      guessed = Know(v, std::move(axes));
    });
    return guessed;
  }

  // Whether a fold, with this many column axes, is over all columns (1), all rows (2), or neither.
  int FoldKind(NodeId n, int columns) const {
    std::vector<bool> reduced(p_.sizes.size());
    for (int d : Reduced(n)) {
      const int axis = maps_[g_.operand(n, 0).id].axes[d];
      if (axis >= 0) reduced[axis] = true;
    }
    bool all_columns = true, all_rows = true;
    for (int d = 0; d < p_.rank(); ++d) {
      if (p_.sizes[d] == 1) continue;
      const bool column = d >= p_.rank() - columns;
      all_columns &= reduced[d] == column;
      all_rows &= reduced[d] != column;
    }
    return all_columns ? 1 : all_rows ? 2 : 0;  // both: of one element, which code may read
  }

  // What is folded over rows is only stored, perhaps as another shape.
  bool OnlyStored(Value v) const {
    for (const Use& use : g_.uses(v)) {
      if (!IsAxisMove(g_, use.user) || !OnlyStored(g_.result(use.user))) return false;
    }
    return true;
  }

  void ChooseColumns() {
    bool folds = false;
    for (int columns = 0; columns <= p_.rank(); ++columns) {
      bool fits = true;
      for (NodeId n = g_.first(); n.valid() && fits; n = g_.next(n)) {
        if (FoldOf(g_, n) == nullptr) continue;
        folds = true;
        const int kind = FoldKind(n, columns);
        fits = kind == 1 || (kind == 2 && OnlyStored(g_.result(n)));
      }
      if (!fits) continue;
      p_.column_axes = folds ? columns : std::min(1, p_.rank());
      return;
    }
    Refuse("its folds are not all over the same rows or columns");
  }

  int32_t Emit(LoopInstr i) {
    const auto same = std::find(p_.code.begin(), p_.code.end(), i);
    if (same != p_.code.end()) return static_cast<int32_t>(same - p_.code.begin());
    p_.code.push_back(i);
    return static_cast<int32_t>(p_.code.size()) - 1;
  }
  int32_t EmitNumber(DType dtype, double x) {
    return Emit({.kind = LoopKind::kNumber, .dtype = LoopDType(dtype), .number = {x, 0}});
  }
  int32_t EmitCast(int32_t v, DType dtype) {
    if (p_.code[v].dtype == LoopDType(dtype)) return v;
    return Emit({.kind = LoopKind::kCast, .dtype = LoopDType(dtype), .args = {v, -1, -1}});
  }
  int32_t EmitScalar(kernels::ScalarOp op, DType data, int32_t a, int32_t b) {
    return Emit({.kind = LoopKind::kScalar,
                 .dtype = kernels::InfoOf(op).is_bool ? DType::kBool : LoopDType(data),
                 .op = op,
                 .args = {a, b, -1}});
  }
  int32_t EmitIndex(int axis, DType dtype) {
    if (axis < 0) return EmitNumber(dtype, 0);
    const DType integer = dtype == DType::kInt32 ? dtype : DType::kInt64;
    return EmitCast(Emit({.kind = LoopKind::kIndex, .dtype = integer, .operand = axis}), dtype);
  }

  // Where `v` lies, as the first elements of `whole`.
  LoopOperand Operand(Value v, Value whole) const {
    LoopOperand o{.dtype = g_.dtype(v), .strides = std::vector<int64_t>(p_.sizes.size())};
    const std::vector<int64_t> sizes = SizesOf(g_, v), all = SizesOf(g_, whole);
    int64_t stride = 1;
    for (int d = static_cast<int>(sizes.size()) - 1; d >= 0; --d) {
      if (sizes[d] > 1) o.strides[maps_[v.id].axes[d]] = stride;
      stride *= all[d];
    }
    return o;
  }
  LoopOperand Operand(Value v) const { return Operand(v, v); }

  int32_t EmitFunctor(NodeId n) {
    const ops::ScalarCall call = ops::ScalarCallOf(g_.op(n), g_.attrs(n));
    LoopInstr i{
        .kind = LoopKind::kScalar, .dtype = LoopDType(g_.dtype(g_.result(n))), .op = call.op};
    int k = 0;
    for (; k < call.n_inputs; ++k) i.args[k] = at_[g_.operand(n, k).id];
    const DType data = g_.dtype(g_.operand(n, call.n_inputs - 1));
    for (int c = 0; c < call.n_constants; ++c) i.args[k++] = EmitNumber(data, call.constants[c]);
    if (kernels::InfoOf(call.op).params > 0) i.number[0] = call.params[0];
    return Emit(i);
  }

  int32_t EmitFold(NodeId n) {
    const FoldOp& f = *FoldOf(g_, n);
    const Value in = g_.operand(n, 0);
    if (!IsFloat(g_.dtype(in))) Refuse(g_.op(n).name, " of ", g_.dtype(in));
    const bool over_rows = FoldKind(n, p_.column_axes) == 2;
    const auto scaled = [&](int32_t v) {
      if (!g_.is(n, ops::kMean)) return v;
      const double count = static_cast<double>(g_.shape(in).numel()) /
                           static_cast<double>(g_.shape(g_.result(n)).numel());
      return EmitScalar(kernels::ScalarOp::kMultiply, g_.dtype(in), v,
                        EmitNumber(g_.dtype(in), 1 / count));
    };
    if (!over_rows) {  // one product per row
      return scaled(Emit({.kind = LoopKind::kFoldCols,
                          .dtype = LoopDType(g_.dtype(in)),
                          .fold = f.fold,
                          .args = {at_[in.id], -1, -1}}));
    }
    return Emit({.kind = LoopKind::kFoldRows,  // can only be stored
                 .dtype = LoopDType(g_.dtype(in)),
                 .fold = f.fold,
                 .args = {scaled(at_[in.id]), -1, -1}});
  }

  // where(draw, x / (1 - rate), 0)
  int32_t EmitDropout(NodeId n) {
    const Value x = g_.operand(n, DropoutInput::kX);
    const Shape& shape = g_.shape(x);
    const DType dtype = g_.dtype(x);
    const double rate = g_.attr<double>(n, DropoutAttr::kRate);
    if (shape.numel() != p_.rows() * p_.cols()) Refuse("dropout of less than the whole space");
    const auto key =
        std::find(g_.inputs().begin(), g_.inputs().end(), g_.operand(n, DropoutInput::kKey));
    if (key == g_.inputs().end()) Refuse("the key of dropout is made inside");
    const int64_t row = shape.rank() == 0 ? 1 : shape.numel() / shape[0].value();
    const int32_t first = EmitScalar(kernels::ScalarOp::kMultiply, DType::kInt64,
                                     at_[g_.operand(n, DropoutInput::kOffset).id],
                                     EmitNumber(DType::kInt64, static_cast<double>(row)));
    const int32_t kept = Emit({.kind = LoopKind::kDraw,
                               .dtype = DType::kBool,
                               .operand = static_cast<int32_t>(key - g_.inputs().begin()),
                               .args = {first, -1, -1},
                               .number = {1 - rate, 0},
                               .stream = g_.attr<int64_t>(n, DropoutAttr::kStream)});
    const int32_t scaled = EmitScalar(kernels::ScalarOp::kMultiply, dtype, at_[x.id],
                                      EmitNumber(dtype, 1 / (1 - rate)));
    return Emit({.kind = LoopKind::kScalar,
                 .dtype = LoopDType(dtype),
                 .op = kernels::ScalarOp::kWhere,
                 .args = {kept, scaled, EmitNumber(dtype, 0)}});
  }

  int32_t EmitConstant(NodeId n) {
    const Value v = g_.result(n);
    if (g_.shape(v).numel() != 1) Refuse("a constant of shape ", g_.shape(v));
    const Tensor& t = g_.attr<Tensor>(n, 0);
    const double x = DispatchDType(t.dtype(), [&]<class T>(T*) {
      if constexpr (std::is_arithmetic_v<T>)
        return static_cast<double>(*static_cast<const T*>(t.raw()));
      else
        return static_cast<double>(static_cast<float>(*static_cast<const T*>(t.raw())));
    });
    if (IsInteger(t.dtype()) && std::fabs(x) > 0x1p52) Refuse("an integer over 2^52");
    return EmitNumber(t.dtype(), x);
  }

  int32_t EmitNode(NodeId n) {
    const OpDef& op = g_.op(n);
    const Value result = g_.result(n);
    const DType dtype = g_.dtype(result);
    if (op.scalar) return EmitFunctor(n);
    if (FoldOf(g_, n) != nullptr) return EmitFold(n);
    if (&op == &ops::kCast) return EmitCast(at_[g_.operand(n, 0).id], dtype);
    if (&op == &ops::kFull) return EmitNumber(dtype, g_.attr<double>(n, 2));
    if (&op == &ops::kConstant) return EmitConstant(n);
    if (&op == &ops::kDropout) return EmitDropout(n);
    if (&op == &ops::kDimProduct) {
      return EmitNumber(dtype, static_cast<double>(g_.attr<Shape>(n, 0).numel()));
    }
    if (&op == &ops::kIota) return EmitIndex(maps_[result.id].axes[0], dtype);
    if (&op == &ops::kOneHot) {
      const Value in = g_.operand(n, 0);
      const int32_t index = EmitIndex(maps_[result.id].axes.back(), g_.dtype(in));
      const int32_t chosen = EmitScalar(kernels::ScalarOp::kEqual, g_.dtype(in), at_[in.id], index);
      return EmitCast(chosen, dtype);
    }
    return at_[g_.operand(n, 0).id];  // broadcast_to, views, and slices of inputs
  }

  void EmitAll() {
    at_.assign(static_cast<size_t>(g_.value_capacity()), -1);
    for (size_t k = 0; k < g_.inputs().size(); ++k) {
      const Value v = g_.inputs()[k];
      p_.inputs.push_back(IsWider(v) ? Operand(g_.result(g_.uses(v)[0].user), v)
                          : maps_[v.id].known
                              ? Operand(v)
                              : LoopOperand{.dtype = g_.dtype(v),
                                            .strides = std::vector<int64_t>(p_.sizes.size())});
      at_[v.id] = Emit({.kind = LoopKind::kLoad,
                        .dtype = LoopDType(g_.dtype(v)),
                        .operand = static_cast<int32_t>(k)});
    }
    for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) {
      if (maps_[g_.result(n).id].known) at_[g_.result(n).id] = EmitNode(n);
    }
    for (Value v : g_.outputs()) {
      LoopOperand o = Operand(v);
      o.value = at_[v.id];
      p_.outputs.push_back(std::move(o));
    }
  }

  // Drops what nothing reads.
  LoopProgram Tidy() {
    std::vector<bool> used(p_.code.size());
    for (const LoopOperand& o : p_.outputs) used[o.value] = true;
    for (size_t k = p_.code.size(); k-- > 0;) {
      for (int32_t a : p_.code[k].args) {
        if (used[k] && a >= 0) used[a] = true;
      }
    }
    std::vector<int32_t> moved(p_.code.size(), -1);
    std::vector<LoopInstr> code;
    for (size_t k = 0; k < p_.code.size(); ++k) {
      if (!used[k]) continue;
      for (int32_t& a : p_.code[k].args) {
        if (a >= 0) a = moved[a];
      }
      moved[k] = static_cast<int32_t>(code.size());
      code.push_back(p_.code[k]);
    }
    p_.code = std::move(code);
    for (LoopOperand& o : p_.outputs) o.value = moved[o.value];
    return std::move(p_);
  }

  Graph& g_;
  std::vector<Map> maps_;    // by value
  std::vector<int32_t> at_;  // value -> instruction
  LoopProgram p_;
};

}  // namespace

std::optional<LoopProgram> BuildLoop(const Graph& body, std::string* why) {
  try {
    Graph g = body.Clone();
    TakeApart(g);
    DropUnused(g);
    LoopProgram p = LoopBuilder(g).Run();
    Verify(p);
    return p;
  } catch (const Unfit& unfit) {
    if (why != nullptr) *why = unfit.why;
  } catch (const Error& error) {
    if (why != nullptr) *why = error.message();
  }
  return std::nullopt;
}

}  // namespace ostria
