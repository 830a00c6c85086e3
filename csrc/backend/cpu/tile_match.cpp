// SPDX-License-Identifier: Apache-2.0
// Patterns are those of the ops' decompositions, found from their last instruction backwards.
#include "backend/cpu/tile_match.h"

#include <algorithm>
#include <optional>

#include "backend/cpu/simd/elementwise.h"

namespace ostria::cpu {
namespace {

using Kind = TileStep::Kind;
using kernels::ScalarOp;

class Matcher {
 public:
  Matcher(const LoopProgram& program, const TileProgram& tiles, TileSpace* space)
      : l_(program), p_(tiles), s_(*space) {}

  TileMatches Run() {
    const size_t n = l_.code.size();
    m_.uses.assign(n, 0);
    for (const LoopInstr& i : l_.code) {
      for (int32_t a : i.args) {
        if (a >= 0) ++m_.uses[a];
      }
    }
    for (const LoopOperand& o : l_.outputs) ++m_.uses[o.value];
    m_.absorbed.assign(n, false);
    m_.whole.assign(n, false);
    m_.joined.assign(n, -1);
    m_.row_loop.assign(n, -1);
    if (p_.cols > 1) {
      // From the end: scale and shift belong to a normalisation that is itself one.
      for (auto v = static_cast<int32_t>(n); v-- > 0;) {
        if (!s_.Full(v) || m_.absorbed[v]) continue;
        FindSoftmax(v) || FindNorm(v) || FindNormGrad(v);
      }
      FindDots();
    }
    FindPairs();
    return std::move(m_);
  }

 private:
  int32_t Arg(int32_t v, int k) const { return l_.code[v].args[k]; }
  bool Is(int32_t v, ScalarOp op) const {
    return v >= 0 && l_.code[v].kind == LoopKind::kScalar && l_.code[v].op == op;
  }
  bool Is(int32_t v, ScalarOp op, int uses) const { return Is(v, op) && m_.uses[v] == uses; }
  bool IsFold(int32_t v, LoopFold fold, int32_t of) const {
    const LoopInstr& i = l_.code[v];
    return i.kind == LoopKind::kFoldCols && i.fold == fold && i.args[0] == of && m_.uses[v] == 1;
  }
  std::optional<double> NumberOf(int32_t v) const {
    const LoopInstr& i = l_.code[v];
    return i.kind == LoopKind::kNumber ? std::optional(i.number[0]) : std::nullopt;
  }

  // --- Row loops
  void Take(int32_t v, RowLoop loop, const std::vector<int32_t>& parts) {
    m_.whole[v] = true;
    for (int32_t a : loop.in) {
      if (a >= 0) m_.whole[a] = true;
    }
    for (int32_t a : parts) m_.absorbed[a] = true;
    for (int32_t a : loop.also) {
      if (a < 0) continue;
      m_.absorbed[a] = true;
      s_.level[a] = s_.level[v];
    }
    m_.absorbed[v] = false;
    m_.row_loop[v] = static_cast<int32_t>(m_.loops.size());
    m_.loops.push_back(std::move(loop));
  }

  // m = fold max x, e = exp(x - m), y = e / fold sum e: its own loop takes fewer passes over a row.
  bool FindSoftmax(int32_t v) {
    if (!Is(v, ScalarOp::kDivide)) return false;
    const int32_t e = Arg(v, 0), sum = Arg(v, 1);
    if (!Is(e, ScalarOp::kExp, 2) || !IsFold(sum, LoopFold::kSum, e)) return false;
    const int32_t shifted = Arg(e, 0);
    if (!Is(shifted, ScalarOp::kSubtract, 1)) return false;
    const int32_t x = Arg(shifted, 0), m = Arg(shifted, 1);
    if (!IsFold(m, LoopFold::kMax, x) || !s_.Full(x)) return false;
    Take(v, {.kind = Kind::kSoftmax, .in = {x}}, {m, shifted, e, sum});
    return true;
  }

  // Where v is the mean of a row: what sums it up; else -1.
  int32_t SumOfMean(int32_t v) const {
    if (!Is(v, ScalarOp::kMultiply)) return -1;
    const int32_t sum = Arg(v, 0);
    const bool mean = NumberOf(Arg(v, 1)) == 1.0 / static_cast<double>(p_.cols);
    return mean && IsFold(sum, LoopFold::kSum, Arg(sum, 0)) ? sum : -1;
  }
  // Read once, and else only stored.
  bool IsReadOnce(int32_t v) const {
    const auto stores = std::count_if(l_.outputs.begin(), l_.outputs.end(),
                                      [&](const LoopOperand& o) { return o.value == v; });
    return m_.uses[v] - stores == 1;
  }
  // The same in all rows, and there before rows are begun.
  bool IsColumnVector(int32_t v) const {
    const LoopInstr& i = l_.code[v];
    if (s_.extent[v] == kPerColumn) return true;
    return i.kind == LoopKind::kLoad && p_.inputs[i.operand].col == 1 &&
           l_.inputs[i.operand].dtype == i.dtype;
  }
  bool IsRowValue(int32_t v) const { return (s_.extent[v] & kPerColumn) == 0; }

  // A product or sum of v's rows with a vector, and nobody else reads those: that one's operands.
  bool Peel(ScalarOp op, int32_t* v, int32_t* vector, std::vector<int32_t>* parts) const {
    if (!Is(*v, op) || !IsColumnVector(Arg(*v, 1)) || m_.uses[Arg(*v, 0)] != 1) return false;
    parts->push_back(*v);
    *vector = Arg(*v, 1);
    *v = Arg(*v, 0);
    return true;
  }

  // c = x - mean x, y = c rsqrt(mean c^2 + epsilon) scale + shift; c = x in RMS normalisation.
  bool FindNorm(int32_t y) {
    RowLoop loop{.kind = Kind::kNorm};
    std::vector<int32_t> parts;
    int32_t v = y, scale = -1, shift = -1;
    Peel(ScalarOp::kAdd, &v, &shift, &parts);
    Peel(ScalarOp::kMultiply, &v, &scale, &parts);
    if (!Is(v, ScalarOp::kMultiply)) return false;
    const int32_t c = Arg(v, 0), rstd = Arg(v, 1);
    if (!Is(rstd, ScalarOp::kRsqrt) || !IsReadOnce(rstd)) return false;
    int32_t var = Arg(rstd, 0);
    if (Is(var, ScalarOp::kAdd, 1) && NumberOf(Arg(var, 1))) {
      loop.epsilon = *NumberOf(Arg(var, 1));
      parts.push_back(var);
      var = Arg(var, 0);
    }
    const int32_t sum = SumOfMean(var), square = sum < 0 ? -1 : Arg(sum, 0);
    if (!Is(square, ScalarOp::kSquare, 1) || Arg(square, 0) != c || m_.uses[var] != 1) return false;
    parts.insert(parts.end(), {v, var, sum, square});
    int32_t x = c, mean = -1;
    if (Is(c, ScalarOp::kSubtract, 2) && IsReadOnce(Arg(c, 1))) {
      const int32_t by = Arg(c, 1), total = SumOfMean(by);
      if (total >= 0 && Arg(total, 0) == Arg(c, 0)) {
        x = Arg(c, 0);
        mean = by;
        loop.centered = true;
        parts.insert(parts.end(), {c, total});
      }
    }
    if (!s_.Full(x) || (!loop.centered && shift >= 0)) return false;
    loop.in = {x, scale, shift};
    loop.also = {mean, rstd};
    Take(y, std::move(loop), parts);
    return true;
  }

  // gs = g scale, xhat = (x - mean) rstd, dx = (gs - mean gs - xhat mean(gs xhat)) rstd, with sums
  // of g xhat and of g over the rows; no mean and no sum of g in RMS normalisation.
  bool FindNormGrad(int32_t dx) {
    if (!Is(dx, ScalarOp::kMultiply) || !Is(Arg(dx, 0), ScalarOp::kSubtract, 1)) return false;
    RowLoop loop{.kind = Kind::kNormGrad};
    const int32_t inner = Arg(dx, 0), rstd = Arg(dx, 1), along = Arg(inner, 1);
    std::vector<int32_t> parts = {inner, along};
    int32_t gs = Arg(inner, 0);
    if (Is(gs, ScalarOp::kSubtract, 1)) {
      const int32_t mean = Arg(gs, 1), sum = SumOfMean(mean);
      if (sum < 0 || m_.uses[mean] != 1 || Arg(sum, 0) != Arg(gs, 0)) return false;
      parts.insert(parts.end(), {gs, mean, sum});
      gs = Arg(gs, 0);
      loop.centered = true;
    }
    if (!Is(gs, ScalarOp::kMultiply, loop.centered ? 3 : 2)) return false;
    const int32_t g = Arg(gs, 0), scale = Arg(gs, 1);
    if (!s_.Full(g) || !IsColumnVector(scale)) return false;

    if (!Is(along, ScalarOp::kMultiply, 1)) return false;
    const int32_t xhat = Arg(along, 0), mean_dot = Arg(along, 1), sum = SumOfMean(mean_dot);
    if (sum < 0 || m_.uses[mean_dot] != 1) return false;
    const int32_t dot = Arg(sum, 0);
    if (!Is(dot, ScalarOp::kMultiply, 1) || Arg(dot, 0) != gs || Arg(dot, 1) != xhat) return false;
    if (!Is(xhat, ScalarOp::kMultiply) || Arg(xhat, 1) != rstd || !IsRowValue(rstd)) return false;
    parts.insert(parts.end(), {gs, xhat, mean_dot, sum, dot});
    int32_t x = Arg(xhat, 0), mean = -1;
    if (loop.centered) {
      if (!Is(x, ScalarOp::kSubtract, 1) || !IsRowValue(Arg(x, 1))) return false;
      parts.push_back(x);
      mean = Arg(x, 1);
      x = Arg(x, 0);
    }
    if (!s_.Full(x)) return false;

    int32_t dscale = -1, dshift = -1;
    if (m_.uses[xhat] == 3) {
      const int32_t product = ProductOf(g, xhat);
      if (product < 0 || m_.uses[product] != 1) return false;
      parts.push_back(product);
      dscale = SumOverRows(product);
      if (loop.centered) dshift = SumOverRows(g);
      if (dscale < 0 || (loop.centered && dshift < 0)) return false;
    } else if (m_.uses[xhat] != 2) {
      return false;
    }
    loop.in = {x, scale, mean, rstd, g};
    loop.also = {dscale, dshift};
    Take(dx, std::move(loop), parts);
    return true;
  }
  int32_t Find(const LoopInstr& like) const {
    for (size_t k = 0; k < l_.code.size(); ++k) {
      const LoopInstr& i = l_.code[k];
      if (i.kind == like.kind && i.op == like.op && i.fold == like.fold &&
          std::equal(i.args, i.args + 3, like.args)) {
        return static_cast<int32_t>(k);
      }
    }
    return -1;
  }
  int32_t ProductOf(int32_t a, int32_t b) const {
    return Find({.kind = LoopKind::kScalar, .op = ScalarOp::kMultiply, .args = {a, b, -1}});
  }
  int32_t SumOverRows(int32_t v) const {
    return Find({.kind = LoopKind::kFoldRows, .fold = LoopFold::kSum, .args = {v, -1, -1}});
  }

  // --- Steps over tiles
  // What is loaded as a half or in steps is copied chunk by chunk.
  bool LiesInRows(int32_t v) const {
    const LoopInstr& i = l_.code[v];
    return i.kind != LoopKind::kLoad ||
           (p_.inputs[i.operand].col == 1 && l_.inputs[i.operand].dtype == i.dtype);
  }

  // The sum over the columns of a product that nobody else reads.
  void FindDots() {
    for (size_t k = 0; k < l_.code.size(); ++k) {
      const LoopInstr& i = l_.code[k];
      if (i.kind != LoopKind::kFoldCols || i.fold != LoopFold::kSum || m_.absorbed[k]) continue;
      const int32_t a = i.args[0];
      if (!Is(a, ScalarOp::kMultiply, 1) || !s_.Full(a) || m_.absorbed[a]) continue;
      const auto walks = [&](int32_t x) { return s_.Full(x) && LiesInRows(x); };
      m_.absorbed[a] = walks(Arg(a, 0)) && walks(Arg(a, 1));
    }
  }

  // A product, sum or difference whose one reader is another joins it.
  void FindPairs() {
    const size_t n = l_.code.size();
    for (size_t k = 0; k < n; ++k) {
      const LoopInstr& i = l_.code[k];
      if (i.kind != LoopKind::kScalar || !s_.Full(static_cast<int32_t>(k)) || m_.absorbed[k] ||
          m_.row_loop[k] >= 0) {
        continue;
      }
      for (int side = 0; side < 2 && m_.joined[k] < 0; ++side) {
        const int32_t a = i.args[side];
        if (a < 0 || l_.code[a].kind != LoopKind::kScalar || m_.uses[a] != 1 || m_.joined[a] >= 0 ||
            m_.absorbed[a] || m_.row_loop[a] >= 0 || !s_.Full(a) || s_.level[a] != s_.level[k]) {
          continue;
        }
        if (ElementwisePair(l_.code[a].op, i.op, side == 1, i.dtype) != nullptr) m_.joined[k] = a;
      }
      if (m_.joined[k] >= 0) m_.absorbed[m_.joined[k]] = true;
    }
  }

  const LoopProgram& l_;
  const TileProgram& p_;
  TileSpace& s_;
  TileMatches m_;
};

}  // namespace

TileMatches FindMatches(const LoopProgram& program, const TileProgram& tiles, TileSpace* space) {
  return Matcher(program, tiles, space).Run();
}

}  // namespace ostria::cpu
