// SPDX-License-Identifier: Apache-2.0
// From a loop program to steps: once the space (tile_space.h) and what shares a step (tile_match.h)
// are known, a step or none for every instruction, a place for its value, steps that convert, copy
// and fold, and the share of threads.
#include "backend/cpu/tile_program.h"

#include <algorithm>
#include <cstring>

#include "backend/cpu/simd/copy.h"
#include "backend/cpu/simd/elementwise.h"
#include "backend/cpu/tile_match.h"
#include "backend/cpu/tile_memory.h"
#include "kernels/scalar/scalar_cost.h"

namespace ostria::cpu {
namespace {

using Base = TilePlace::Base;
using Kind = TileStep::Kind;

constexpr int64_t kPieceElements = 1 << 13;  // folded over rows in one go
constexpr int64_t kMostPieces = 32;
constexpr int64_t kGrain = 24 << 10;  // cheap operations that are worth a thread

kernels::ScalarOp JoinOf(LoopFold fold) {
  using enum kernels::ScalarOp;
  constexpr kernels::ScalarOp kOps[] = {kAdd, kMultiply, kMaximum, kMinimum};
  return kOps[static_cast<int>(fold)];
}
FoldOp FoldOpOf(LoopFold fold) {
  constexpr FoldOp kOps[] = {FoldOp::kSum, FoldOp::kProd, FoldOp::kMax, FoldOp::kMin};
  return kOps[static_cast<int>(fold)];
}

class TileMaker {
 public:
  TileMaker(const LoopProgram& program, int threads) : l_(program), threads_(threads) {}

  TileProgram Run() {
    const size_t n = l_.code.size();
    s_ = FindSpace(l_, &p_);
    m_ = FindMatches(l_, p_, &s_);
    places_.resize(n);
    p_.row_steps.resize(static_cast<size_t>(p_.levels));
    p_.steps.resize(static_cast<size_t>(p_.levels));
    PlaceOutputs();
    for (size_t k = 0; k < n; ++k) Emit(static_cast<int32_t>(k));
    for (size_t k = 0; k < l_.outputs.size(); ++k) Store(static_cast<int32_t>(k));
    PlaceScratch(buffers_, &p_);
    Share();
    FindAliases(&p_);
    FindAhead();
    return std::move(p_);
  }

 private:
  // --- Places
  TilePlace Scratch(int32_t v) { return Scratch(v, l_.code[v].dtype); }
  TilePlace Scratch(int32_t v, DType dtype) {
    TilePlace place{.base = Base::kScratch,
                    .index = static_cast<int32_t>(buffers_.size()),
                    .size = static_cast<int8_t>(SizeOf(dtype))};
    TileBuffer b;
    const uint8_t e = s_.extent[v];
    if (s_.Full(v)) {
      place.chunked = s_.last_level[v] == s_.level[v] && !m_.whole[v];
      place.row = place.chunked ? p_.chunk_cols : p_.cols;
      place.col = 1;
      b.bytes = p_.block_rows * place.row * place.size;
    } else if (e == kPerRow) {
      place.row = 1;
      b.bytes = p_.block_rows * place.size;
    } else if (e == kPerColumn) {
      place.col = 1;
      b.bytes = p_.cols * place.size;
      b.persistent = true;
    } else {
      b.bytes = place.size;
      b.persistent = true;
    }
    buffers_.push_back(b);
    return place;
  }

  TilePlace Memory(Base base, int32_t index) const {
    const TileOperand& o = base == Base::kInput ? p_.inputs[index] : p_.outputs[index];
    return {.base = base, .index = index, .row = o.row, .col = o.col, .size = o.size};
  }

  // Outputs that a value can be computed into. A per-row value lies dense there or is copied.
  void PlaceOutputs() {
    direct_.assign(l_.code.size(), -1);
    stored_.assign(l_.outputs.size(), false);
    for (size_t k = 0; k < l_.outputs.size(); ++k) {
      const LoopOperand& o = l_.outputs[k];
      const LoopInstr& i = l_.code[o.value];
      if (i.kind != LoopKind::kScalar && i.kind != LoopKind::kCast) continue;
      if (direct_[o.value] >= 0 || o.dtype != i.dtype || !s_.Full(o.value)) continue;
      if (p_.outputs[k].col != 1 || PastCaches(k)) continue;
      direct_[o.value] = static_cast<int32_t>(k);
      stored_[k] = true;
    }
  }

  // Where rows go through memory more than once, a large result is stored past the caches, which
  // keep the rows instead.
  bool PastCaches(size_t k) const {
    const LoopOperand& o = l_.outputs[k];
    const bool whole = p_.outputs[k].col == 1 && p_.outputs[k].repeat <= 1;
    return !m_.loops.empty() && whole && o.dtype == l_.code[o.value].dtype &&
           p_.rows * p_.cols * SizeOf(o.dtype) >= kPastCachesBytes;
  }

  std::vector<TileStep>& StepsOf(int32_t v) {
    if (s_.Full(v)) return p_.steps[s_.level[v]];
    if (s_.extent[v] == kPerRow) return p_.row_steps[s_.level[v]];
    return p_.prologue;
  }

  void Push(std::vector<TileStep>& list, TileStep step, bool per_row) {
    step.per_row = per_row;
    bool flat = p_.chunk_cols == p_.cols;
    const auto dense = [&](const TilePlace& o) {
      return (o.row == p_.cols && o.col == 1) || (o.row == 0 && o.col == 0);
    };
    for (int k = 0; k < step.n_in; ++k) {
      flat &= dense(step.in[k]);
    }
    step.flat = flat && step.out.row == p_.cols && step.out.col == 1;
    list.push_back(step);
  }

  // --- Instructions
  void Emit(int32_t v) {
    const LoopInstr& i = l_.code[v];
    if (m_.absorbed[v]) return;
    if (m_.row_loop[v] >= 0) return Rows(v, m_.loops[m_.row_loop[v]]);
    switch (i.kind) {
      case LoopKind::kLoad: return Load(v);
      case LoopKind::kNumber: return EmitNumber(v);
      case LoopKind::kIndex: return Index(v);
      case LoopKind::kScalar: return Function(v);
      case LoopKind::kCast: return EmitCast(v);
      case LoopKind::kFoldCols: return FoldCols(v);
      case LoopKind::kFoldRows: return FoldRows(v);
      case LoopKind::kDraw: return Draw(v);
    }
  }

  // A load is read where it lies, unless it is of a half type, or in steps no loop takes.
  void Load(int32_t v) {
    const LoopInstr& i = l_.code[v];
    const TilePlace from = Memory(Base::kInput, i.operand);
    const DType dtype = l_.inputs[i.operand].dtype;
    const bool half = LoopDType(dtype) != dtype;
    const bool walks =
        s_.extent[v] == kPerRow ? from.row == 0 || from.row == 1 : from.col == 0 || from.col == 1;
    TilePlace at = from;
    const auto move = [&](Kind kind, DType to) {
      TileStep step{.kind = kind, .n_in = 1};
      step.half = dtype == DType::kBFloat16;
      step.in[0] = at;
      step.out = at = Scratch(v, to);
      if (from.base == step.in[0].base && p_.inputs[i.operand].repeat > 1) {
        step.repeat = p_.inputs[i.operand].repeat;
        step.out.row = p_.cols / step.repeat;
      }
      Push(StepsOf(v), step, s_.extent[v] == kPerRow);
    };
    if (!walks || (!half && p_.inputs[i.operand].repeat > 1)) move(Kind::kCopy, dtype);
    if (half) move(Kind::kWiden, i.dtype);
    places_[v] = at;
  }

  void EmitNumber(int32_t v) {
    const LoopInstr& i = l_.code[v];
    places_[v] = {.base = Base::kNumber,
                  .index = static_cast<int32_t>(p_.numbers.size()),
                  .size = static_cast<int8_t>(SizeOf(i.dtype))};
    double cell = 0;
    Cast(DType::kFloat64, &i.number[0], i.dtype, &cell, 1);
    p_.numbers.push_back(cell);
  }

  void Index(int32_t v) {
    TileStep step{.kind = Kind::kIndex, .to = l_.code[v].dtype};
    step.axis = s_.axis_of[l_.code[v].operand];
    step.out = places_[v] = Scratch(v);
    Push(StepsOf(v), step, s_.extent[v] == kPerRow);
  }

  void Function(int32_t v) {
    const LoopInstr& i = l_.code[v];
    const int data = i.op == kernels::ScalarOp::kWhere ? 1 : 0;
    TileStep step{.kind = Kind::kFunction, .n_in = static_cast<int8_t>(kernels::Arity(i.op))};
    step.fn = ElementwiseFunction(i.op, l_.code[i.args[data]].dtype);
    if (step.fn == nullptr) throw TileUnfit{StrCat("no loop for ", kernels::Name(i.op))};
    std::copy_n(i.number, 2, step.params);
    for (int k = 0; k < step.n_in; ++k) step.in[k] = places_[i.args[k]];
    if (const int32_t first = m_.joined[v]; first >= 0) {
      const int side = i.args[1] == first;
      step.fn = ElementwisePair(l_.code[first].op, i.op, side == 1, i.dtype);
      step.n_in = 3;
      step.in[2] = places_[i.args[1 - side]];
      for (int k = 0; k < 2; ++k) step.in[k] = places_[l_.code[first].args[k]];
    }
    cost_ += s_.Full(v) ? (kernels::IsCostly(i.op) ? 6 : 1) : 0;
    step.out = places_[v] = direct_[v] >= 0 ? Memory(Base::kOutput, direct_[v]) : Scratch(v);
    Push(StepsOf(v), step, s_.extent[v] == kPerRow);
  }

  void Rows(int32_t v, const RowLoop& loop) {
    TileStep step{.kind = loop.kind, .n_in = static_cast<int8_t>(loop.in.size())};
    step.f64 = l_.code[v].dtype == DType::kFloat64;
    step.centered = loop.centered;
    step.params[0] = loop.epsilon;
    for (size_t k = 0; k < loop.in.size(); ++k) {
      step.in[k] = loop.in[k] < 0 ? TilePlace{.base = Base::kNone} : places_[loop.in[k]];
    }
    for (size_t k = 0; k < loop.also.size(); ++k) {
      const int32_t a = loop.also[k];
      if (a < 0) continue;
      places_[a] = l_.code[a].kind == LoopKind::kFoldRows ? Accumulator(a) : Scratch(a);
      step.also[k] = places_[a];
    }
    cost_ += 9;
    step.out = places_[v] = direct_[v] >= 0 ? Memory(Base::kOutput, direct_[v]) : Scratch(v);
    Push(p_.row_steps[s_.level[v]], step, false);
  }

  void EmitCast(int32_t v) {
    const LoopInstr& i = l_.code[v];
    const int32_t a = i.args[0];
    TileStep step{.kind = Kind::kCast, .n_in = 1, .from = l_.code[a].dtype, .to = i.dtype};
    step.in[0] = places_[a];
    ++cost_;
    step.out = places_[v] = direct_[v] >= 0 ? Memory(Base::kOutput, direct_[v]) : Scratch(v);
    Push(StepsOf(v), step, s_.extent[v] == kPerRow);
  }

  void FoldCols(int32_t v) {
    const LoopInstr& i = l_.code[v];
    const int32_t a = i.args[0];
    if (p_.cols == 1) {
      places_[v] = places_[a];
      return;
    }
    if (!s_.Full(a)) throw TileUnfit{"it folds the columns of what has no rows"};
    TileStep step{.kind = Kind::kFoldCols, .n_in = 1, .f64 = i.dtype == DType::kFloat64};
    step.fold = FoldOpOf(i.fold);
    step.in[0] = places_[a];
    if (m_.absorbed[a]) {  // the sum of a product
      step.n_in = 2;
      for (int k = 0; k < 2; ++k) step.in[k] = places_[l_.code[a].args[k]];
    }
    cost_ += 1;
    step.out = places_[v] = Scratch(v);
    Push(p_.steps[s_.level[v] - 1], step, false);
  }

  void FoldRows(int32_t v) {
    const LoopInstr& i = l_.code[v];
    TileStep step{.kind = Kind::kFoldRows, .n_in = 1, .f64 = i.dtype == DType::kFloat64};
    const int32_t a = i.args[0];
    step.fold = FoldOpOf(i.fold);
    step.fn = ElementwiseFunction(JoinOf(i.fold), i.dtype);
    step.in[0] = places_[a];
    if (!s_.flat && s_.extent[a] != (kPerRow | kPerColumn) && s_.extent[a] != kPerRow) {
      throw TileUnfit{"it folds what does not vary over the rows"};
    }
    step.out = places_[v] = Accumulator(v);
    cost_ += 1;
    Push(s_.Full(a) ? p_.steps[s_.level[a]] : p_.row_steps[s_.level[a]], step, !s_.Full(a));
  }

  TilePlace Accumulator(int32_t v) {
    const LoopInstr& i = l_.code[v];
    const bool columns = !s_.flat && s_.Full(i.args[0]);
    TileAccumulator acc{.fold = FoldOpOf(i.fold), .f64 = i.dtype == DType::kFloat64};
    acc.width = columns ? p_.cols : 1;
    acc.offset = p_.accumulator_bytes / 8;
    p_.accumulator_bytes += AlignTile(acc.width * 8);
    p_.accumulators.push_back(acc);
    return {.base = Base::kAccumulator,
            .index = static_cast<int32_t>(p_.accumulators.size()) - 1,
            .offset = acc.offset * 8,
            .col = columns ? 1 : 0,
            .size = static_cast<int8_t>(SizeOf(i.dtype))};
  }

  void Draw(int32_t v) {
    const LoopInstr& i = l_.code[v];
    TileStep step{.kind = Kind::kDraw, .n_in = 2};
    step.params[0] = i.number[0];
    step.stream = static_cast<uint64_t>(i.stream);
    step.in[0] = places_[i.args[0]];
    step.in[1] = {.base = Base::kInput, .index = i.operand, .size = 8};
    cost_ += 6;
    step.out = places_[v] = Scratch(v);
    Push(StepsOf(v), step, s_.extent[v] == kPerRow);
  }

  void Store(int32_t k) {
    if (stored_[k]) return;
    const LoopOperand& o = l_.outputs[k];
    const int32_t v = o.value;
    if (l_.code[v].kind == LoopKind::kFoldRows) {
      TileAccumulator acc = p_.accumulators[places_[v].index];
      const bool again = acc.output >= 0;
      acc.output = k;
      acc.half =
          static_cast<int8_t>(o.dtype == l_.code[v].dtype ? -1 : o.dtype == DType::kBFloat16);
      acc.repeat = acc.width == 1 && p_.outputs[k].col != 0 ? p_.cols : 1;
      if (again)  // the same sums, stored twice
        p_.accumulators.push_back(acc);
      else
        p_.accumulators[places_[v].index] = acc;
      return;
    }
    const TilePlace to = Memory(Base::kOutput, k);
    const uint8_t e =
        static_cast<uint8_t>((to.row != 0 || p_.outputs[k].varies_outside() ? kPerRow : 0) |
                             (to.col != 0 ? kPerColumn : 0));
    const bool half = o.dtype != l_.code[v].dtype;
    TileStep step{.kind = half ? Kind::kNarrow : Kind::kCopy, .n_in = 1};
    step.half = o.dtype == DType::kBFloat16;
    step.past_caches = PastCaches(static_cast<size_t>(k));
    step.in[0] = places_[v];
    step.out = to;
    const bool full = e == (kPerRow | kPerColumn) || (e == kPerColumn && p_.rows == 1);
    if (full) {
      Push(p_.steps[s_.level[v]], step, false);
    } else if (e == kPerRow || (e == 0 && s_.extent[v] == kPerRow)) {
      Push(p_.row_steps[s_.level[v]], step, true);
    } else {
      Push(p_.finish, step, false);
    }
  }

  void Share() {
    int64_t elements = p_.rows * p_.cols;
    for (int64_t n : p_.outer) elements *= n;
    if (s_.folds_rows) {
      p_.pieces = std::clamp<int64_t>(elements / kPieceElements, 1, kMostPieces);
      const int64_t most = s_.flat ? (p_.cols + p_.chunk_cols - 1) / p_.chunk_cols : p_.rows;
      p_.pieces = std::min(p_.pieces, most);
    }
    const int64_t work = elements * std::max<int64_t>(1, cost_) / kGrain;
    p_.parts = static_cast<int>(std::clamp<int64_t>(work, 1, threads_));
    if (s_.folds_rows) p_.parts = static_cast<int>(std::min<int64_t>(p_.parts, p_.pieces));
  }

  // A loop over rows looks for the next one itself.
  bool IsReadByRows(int32_t input) const {
    return std::any_of(m_.loops.begin(), m_.loops.end(), [&](const RowLoop& loop) {
      return std::any_of(loop.in.begin(), loop.in.end(), [&](int32_t x) {
        return x >= 0 && l_.code[x].kind == LoopKind::kLoad && l_.code[x].operand == input;
      });
    });
  }
  // Each level goes over its rows once, so the first one alone would wait for memory.
  void FindAhead() {
    constexpr int64_t kFarBytes = 1 << 20;  // beyond a level-2 cache
    if (p_.levels == 1) return;
    for (size_t k = 0; k < p_.inputs.size(); ++k) {
      const TileOperand& o = p_.inputs[k];
      if (o.row != 0 && o.col == 1 && p_.rows * p_.cols * o.size > kFarBytes &&
          !IsReadByRows(static_cast<int32_t>(k))) {
        p_.ahead.push_back(static_cast<int32_t>(k));
      }
    }
  }

  const LoopProgram& l_;
  int threads_;
  TileProgram p_;
  TileSpace s_;
  TileMatches m_;
  std::vector<TilePlace> places_;
  std::vector<int32_t> direct_;  // value -> output it is computed into
  std::vector<bool> stored_;
  std::vector<TileBuffer> buffers_;
  int64_t cost_ = 0;
};

}  // namespace

std::optional<TileProgram> MakeTiles(const LoopProgram& program, int threads, std::string* why) {
  try {
    return TileMaker(program, threads).Run();
  } catch (const TileUnfit& unfit) {
    *why = unfit.why;
    return std::nullopt;
  }
}

}  // namespace ostria::cpu
