// SPDX-License-Identifier: Apache-2.0
// pad_products: tensor cores read 16 bytes at a time, so a matrix whose rows are no vectors, such
// as the logits of 50257 tokens, makes every product that reads or writes it slow. Where the device
// asks for it and it pays, operands get zeros up to the next sizes in the pass that casts them, the
// product gives wide rows, and what reads those reads them as they are: casts, views, sums over
// rows, the loss by class numbers, which is told how many classes there are, and other products. Of
// the rest each gets a slice, which loops read where it lies (slices_into_loops), as what reads the
// first rows of a gradient does; others take a copy.
//
//   l = matmul(h, cast(w) [50257, d]');  dl = cross_entropy_grad(l, labels, g)
//   dh = matmul(dl, cast(w));  dw = matmul(dl', h)
//     =>  p = pad_channels(w) [50304, d];  l = matmul(h, p');  dl = cross_entropy_grad(l) {50257}
//         dh = matmul(dl, p);  dw = slice(matmul(dl', h))
#include <map>
#include <optional>
#include <tuple>

#include "ir/builder.h"
#include "ir/bytes.h"
#include "ops/common/attr_index.h"
#include "ops/common/build.h"
#include "ops/common/classes.h"
#include "ops/common/epilogue.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

using ops::PaddedSize;

int LastAxis(const Graph& g, Value v) { return g.shape(v).rank() - 1; }
int64_t Last(const Graph& g, Value v) { return g.shape(v)[LastAxis(g, v)].value(); }

// A product of matrices, or of a batch of them with one right-hand side.
struct Product {
  bool transpose_a = false, transpose_b = false;
  int64_t rows = 1;             // of all matrices on the left: m, and the batch
  int64_t m = 0, n = 0, k = 0;  // as they are
  int64_t wide_m = 0, wide_n = 0, wide_k = 0;

  int k_axis_of_a() const { return transpose_a ? 0 : 1; }  // of the last two
  int k_axis_of_b() const { return transpose_b ? 1 : 0; }
  bool is_padded() const { return wide_m != m || wide_n != n || wide_k != k; }
  double flops() const { return 2.0 * static_cast<double>(rows) * static_cast<double>(n * k); }
  double padded_flops() const {
    return 2.0 * static_cast<double>(rows / m * wide_m) * static_cast<double>(wide_n * wide_k);
  }
};

class ProductPadder {
 public:
  ProductPadder(Graph& g, const PassContext& context) : g_(g), context_(context) {}

  bool Run() {
    bool changed = false;
    for (NodeId next, n = g_.first(); n.valid(); n = next) {
      next = g_.next(n);
      if (const std::optional<Product> p = ProductOf(n)) {
        changed |= p->is_padded() && Pays(n, *p) && Rewrite(n, *p);
      } else if (!wide_.empty()) {
        ReadWide(n);
      }
    }
    Report();
    if (changed && context_.padded != nullptr) *context_.padded = true;
    return changed;
  }

 private:
  // Rows of which a value is the first elements, and whether zeros lie behind them.
  struct Wide {
    Value v;
    bool zeros = false;
  };

  std::optional<Product> ProductOf(NodeId n) const {
    const bool fused = g_.is(n, ops::kMatmulFused);
    if (!fused && !g_.is(n, ops::kMatmul)) return std::nullopt;
    if (fused) {  // other epilogues are made of what this pass leaves
      ops::Epilogue epilogue = ops::Epilogue::kNone;
      ops::ParseEpilogue(g_.attr<std::string>(n, ops::MatmulAttr::kEpilogue), &epilogue);
      if (!ops::DefOf(epilogue).is_simple()) return std::nullopt;
    }
    const Value a = g_.operand(n, 0), b = g_.operand(n, 1);
    const int64_t multiple = context_.product_multiple(g_.dtype(a));
    Product p{.transpose_a = g_.attr<bool>(n, ops::MatmulAttr::kTransposeA),
              .transpose_b = g_.attr<bool>(n, ops::MatmulAttr::kTransposeB)};
    const Shape &of_a = g_.shape(a), &of_b = g_.shape(b);
    if (multiple == 1 || of_b.rank() != 2 || (p.transpose_a && of_a.rank() != 2)) {
      return std::nullopt;
    }
    if (g_.shape(g_.result(n)).numel() == 0 || of_a.numel() == 0) return std::nullopt;
    p.k = of_b[p.k_axis_of_b()].value();
    p.n = of_b[1 - p.k_axis_of_b()].value();
    p.rows = of_a.numel() / p.k;
    p.m = of_a[of_a.rank() - 2 + (1 - p.k_axis_of_a())].value();
    // Only sizes along which a matrix lies dense.
    p.wide_m = p.transpose_a ? PaddedSize(p.m, multiple) : p.m;
    p.wide_n = PaddedSize(p.n, multiple);
    p.wide_k = !p.transpose_a || p.transpose_b ? PaddedSize(p.k, multiple) : p.k;
    return p;
  }

  // --- What it costs ---
  const Wide* WideOf(Value v, int axis, int64_t size) const {
    const auto found = wide_.find(v.id);
    const bool fits =
        found != wide_.end() && axis == LastAxis(g_, v) && Last(g_, found->second.v) == size;
    return fits ? &found->second : nullptr;
  }
  bool IsPadded(Value v, int axis, int64_t size, bool zeros) const {
    const Wide* wide = WideOf(v, axis, size);
    return (wide != nullptr && (wide->zeros || !zeros)) || made_.contains({v.id, axis, size});
  }

  // The float32 that was cast to what a product reads: padding takes the place of the cast, unless
  // that belongs to the loop that makes it, which so writes half as much.
  Value CastFrom(Value v) const {
    const NodeId cast = ProducedBy(g_, v, ops::kCast);
    if (!cast.valid()) return {};
    const NodeId made = g_.producer(g_.operand(cast, 0));
    const bool narrows = SizeOf(g_.dtype(v)) == 2 && !(made.valid() && IsLoop(made)) &&
                         g_.dtype(g_.operand(cast, 0)) == DType::kFloat32;
    return narrows ? g_.operand(cast, 0) : Value{};
  }
  bool IsProduct(NodeId n) const { return g_.is(n, ops::kMatmul) || g_.is(n, ops::kMatmulFused); }
  bool OnlyProductsRead(Value v) const {
    if (g_.is_output(v)) return false;
    for (const Use& use : g_.uses(v)) {
      if (!IsProduct(use.user)) return false;
    }
    return true;
  }

  void AddPad(Value v, int axis, int64_t size, bool zeros, ops::ProductPadding* cost) const {
    const int64_t now = g_.shape(v)[axis].value();
    if (now == size || IsPadded(v, axis, size, zeros)) return;
    if (CastFrom(v).valid() && OnlyProductsRead(v)) return;
    ++cost->launches;
    cost->copied_bytes += 2 * Bytes(g_, v);
  }

  bool IsLoop(NodeId n) const {
    const Traits& traits = g_.op(n).traits;
    return traits.elementwise || traits.loop || IsFold(g_, n);
  }

  // What slices of a wide `v` copy for those that cannot read it as it is.
  void AddCuts(Value v, bool zeros, ops::ProductPadding* cost) const {
    const auto cut = [&] {
      ++cost->launches;
      cost->copied_bytes += 2 * Bytes(g_, v);
    };
    if (g_.is_output(v)) return cut();
    for (const Use& use : g_.uses(v)) {
      const NodeId n = use.user;
      const std::optional<Product> p = ProductOf(n);
      if (p && use.operand < 2) {
        // Its last axis is one that the product pads too.
        const bool inner = (use.operand == 0 ? p->k_axis_of_a() : p->k_axis_of_b()) == 1;
        if (!inner || zeros) continue;
        cut();
      } else if (!p && Reads(n, use.operand)) {
        const bool loss = g_.is(n, ops::kSparseSoftmaxCrossEntropyGrad);
        const bool done = g_.is(n, ops::kSparseSoftmaxCrossEntropy) || IsFold(g_, n);
        if (!done) AddCuts(g_.result(n), zeros || loss, cost);
      } else if (IsLoop(n)) {
        continue;  // slices_into_loops
      } else {
        return cut();
      }
    }
  }

  bool Pays(NodeId n, const Product& p) const {
    const Value a = g_.operand(n, 0), b = g_.operand(n, 1), y = g_.result(n);
    const int of_a = LastAxis(g_, a) - 1;
    ops::ProductPadding cost{
        .dtype = g_.dtype(a), .flops = p.flops(), .padded_flops = p.padded_flops()};
    AddPad(a, of_a + p.k_axis_of_a(), p.wide_k, true, &cost);
    AddPad(a, of_a + 1 - p.k_axis_of_a(), p.wide_m, false, &cost);
    AddPad(b, p.k_axis_of_b(), p.wide_k, true, &cost);
    AddPad(b, 1 - p.k_axis_of_b(), p.wide_n, false, &cost);
    if (g_.num_operands(n) == 3) {
      AddPad(g_.operand(n, 2), LastAxis(g_, g_.operand(n, 2)), p.wide_n, false, &cost);
    }
    for (int i = 0; p.wide_n != p.n && i < g_.num_results(n); ++i) {
      AddCuts(g_.result(n, i), false, &cost);
    }
    if (p.wide_m != p.m && (p.wide_n != p.n || g_.is_output(y))) {
      ++cost.launches;
      cost.copied_bytes += 2 * Bytes(g_, y);
    }
    return context_.padding_pays(cost);
  }

  // --- Wide values ---
  Value Pad(NodeId before, Value v, int axis, int64_t size, bool zeros) {
    const Shape shape = g_.shape(v);
    if (shape[axis].value() == size) return v;
    const Wide* wide = WideOf(v, axis, size);
    if (wide != nullptr && (wide->zeros || !zeros)) return wide->v;
    const auto [made, fresh] = made_.try_emplace({v.id, axis, size});
    if (!fresh) return made->second;
    const DType dtype = g_.dtype(v);
    Value x = CastFrom(v).valid() ? CastFrom(v) : v;
    Builder b(g_, g_.location(before), before);
    if (axis == shape.rank() - 1) {
      x = b(ops::kPadChannels, {x}, {size, dtype});
    } else {  // rows behind the others: one long row
      const int64_t row = shape.numel() / shape[0].value();
      x = ops::Reshape(b, x, {1, shape.numel()});
      x = b(ops::kPadChannels, {x}, {size * row, dtype});
      Shape padded = shape;
      padded[0] = size;
      x = ops::Reshape(b, x, padded);
    }
    return made->second = x;
  }

  Value Cut(NodeId before, Value wide, Value as) {
    const std::vector<int64_t> stop = SizesOf(g_, as);
    Builder b(g_, g_.location(before), before);
    return b(ops::kSlice, {wide},
             {std::vector<int64_t>(stop.size()), stop, std::vector<int64_t>{}});
  }
  // Readers of `v` get the first elements of the rows of `wide`.
  void SetWide(NodeId before, Value v, Value wide, bool zeros) {
    const Value cut = Cut(before, wide, v);
    g_.ReplaceAllUses(v, cut);
    wide_[cut.id] = {wide, zeros};
  }

  bool Rewrite(NodeId n, const Product& p) {
    const std::vector<Attr> attrs(g_.attrs(n).begin(), g_.attrs(n).end());
    std::vector<Value> operands = g_.operands(n);
    const int of_a = LastAxis(g_, operands[0]) - 1;
    const auto pad = [&](int i, int axis, int64_t size, bool zeros) {
      operands[i] = Pad(n, operands[i], axis, size, zeros);
    };
    pad(0, of_a + p.k_axis_of_a(), p.wide_k, true);
    pad(0, of_a + 1 - p.k_axis_of_a(), p.wide_m, false);
    pad(1, p.k_axis_of_b(), p.wide_k, true);
    pad(1, 1 - p.k_axis_of_b(), p.wide_n, false);
    if (operands.size() == 3) pad(2, LastAxis(g_, operands[2]), p.wide_n, false);
    if (!HasKernel(context_, g_, g_.op(n), attrs, operands)) return false;
    const NodeId made = g_.AddNode(g_.op(n), operands, attrs, g_.location(n), n);
    for (int i = 0; i < g_.num_results(n); ++i) {
      const Value y = g_.result(n, i), wide = g_.result(made, i);
      if (p.wide_m != p.m) {
        g_.ReplaceAllUses(y, Cut(n, wide, y));
      } else if (p.wide_n != p.n) {
        SetWide(n, y, wide, false);
      } else {
        g_.ReplaceAllUses(y, wide);
      }
    }
    ++padded_[StrCat(g_.op(n).name, " ", p.m, "x", p.n, "x", p.k, " is computed as ", p.wide_m, "x",
                     p.wide_n, "x", p.wide_k)];
    g_.Erase(n);
    return true;
  }

  // --- Readers of wide rows ---
  // Whether what reads `v` gains by its rows being wide. Loops do not: they would end where a cast
  // is wide and they are not.
  bool WantsWide(Value v) const {
    bool folds = false, others = g_.is_output(v);
    for (const Use& use : g_.uses(v)) {
      const NodeId n = use.user;
      if (IsProduct(n) || IsLoss(n)) return true;
      const bool passes = g_.is(n, ops::kCast) || IsView(g_, n);
      if (passes && WantsWide(g_.result(n))) return true;
      (IsFold(g_, n) && Reads(n, use.operand) ? folds : others) = true;
    }
    return folds && !others;
  }
  bool IsLoss(NodeId n) const {
    return g_.is(n, ops::kSparseSoftmaxCrossEntropy) ||
           g_.is(n, ops::kSparseSoftmaxCrossEntropyGrad);
  }

  // Whether the node can read operand `i` with more elements in each row.
  bool Reads(NodeId n, int i) const {
    if (i != 0) return false;
    const Value x = g_.operand(n, 0);
    if (IsLoss(n)) return true;
    const Value y = g_.result(n);
    if (g_.is(n, ops::kCast)) return IsFloat(g_.dtype(y)) && WantsWide(y);
    if (IsView(g_, n)) return g_.shape(y).rank() > 0 && Last(g_, y) == Last(g_, x);
    if (!IsFold(g_, n)) return false;
    const std::vector<int> axes = ReducedAxes(g_, n);
    return !axes.empty() && axes.back() != LastAxis(g_, x);
  }

  void ReadWide(NodeId n) {
    const auto found = g_.num_operands(n) > 0 ? wide_.find(g_.operand(n, 0).id) : wide_.end();
    if (found == wide_.end() || !Reads(n, 0)) return;
    const Wide wide = found->second;
    Builder b(g_, g_.location(n), n);
    const std::vector<Attr> attrs(g_.attrs(n).begin(), g_.attrs(n).end());
    if (IsLoss(n)) return ReadLogits(n, wide.v);
    const Value y = g_.result(n);
    if (IsView(g_, n)) {
      Shape shape = g_.shape(y);
      shape[shape.rank() - 1] = Last(g_, wide.v);
      return SetWide(n, y, ops::Reshape(b, wide.v, shape), wide.zeros);
    }
    const bool zeros = wide.zeros && !g_.is(n, ops::kMax) && !g_.is(n, ops::kMin);
    SetWide(n, y, b(g_.op(n), {wide.v}, attrs), zeros);
  }

  void ReadLogits(NodeId n, Value wide) {
    int64_t classes = g_.attr<int64_t>(n, ops::kClassesAttr);
    if (classes < 0) classes = Last(g_, g_.operand(n, 0));
    std::vector<Value> operands = g_.operands(n);
    operands[0] = wide;
    const NodeId made = g_.AddNode(g_.op(n), operands, {classes}, g_.location(n), n);
    const int last = g_.num_results(n) - 1;  // the loss
    g_.ReplaceAllUses(g_.result(n, last), g_.result(made, last));
    if (last > 0) SetWide(n, g_.result(n, 0), g_.result(made, 0), true);
  }

  void Report() const {
    if (context_.report == nullptr) return;
    for (const auto& [text, count] : padded_) {
      context_.report->push_back(StrCat(text, count > 1 ? StrCat(" (", count, " times)") : "",
                                        ", so that rows are vectors"));
    }
  }

  Graph& g_;
  const PassContext& context_;
  std::map<int32_t, Wide> wide_;                             // by value
  std::map<std::tuple<int32_t, int, int64_t>, Value> made_;  // by value, axis and size
  std::map<std::string, int> padded_;                        // what the report says, how often
};

}  // namespace

bool PadProducts(Graph& graph, const PassContext& context) {
  if (!context.product_multiple || !context.padding_pays) return false;
  return ProductPadder(graph, context).Run();
}

}  // namespace ostria
