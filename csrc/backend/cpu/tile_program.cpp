// SPDX-License-Identifier: Apache-2.0
// From a loop program to steps: collapse axes, give every instruction a level and a place, add the
// steps that convert, copy and fold.
#include "backend/cpu/tile_program.h"

#include <algorithm>
#include <cstring>

#include "backend/cpu/simd/copy.h"
#include "backend/cpu/simd/elementwise.h"

namespace ostria::cpu {
namespace {

using Base = TilePlace::Base;
using Kind = TileStep::Kind;

constexpr int64_t kTileElements = 512;          // of a step: 2 KB of float32
constexpr int64_t kMostColumnBytes = 64 << 10;  // of what the prologue keeps per value
constexpr int64_t kPieceElements = 1 << 16;     // folded over rows in one go
constexpr int64_t kMostPieces = 32;
constexpr int64_t kGrain = 24 << 10;  // cheap operations that are worth a thread
constexpr int64_t kAlign = 64;

struct Unfit {
  std::string why;
};
int64_t Align(int64_t n) { return (n + kAlign - 1) / kAlign * kAlign; }

FoldOp FoldOpOf(LoopFold fold) {
  constexpr FoldOp kOps[] = {FoldOp::kSum, FoldOp::kProd, FoldOp::kMax, FoldOp::kMin};
  return kOps[static_cast<int>(fold)];
}

// What a value varies over in the collapsed space; a bit set.
enum Extent : uint8_t { kPerRow = 1, kPerColumn = 2 };

class TileMaker {
 public:
  TileMaker(const LoopProgram& program, int threads) : l_(program), threads_(threads) {}

  TileProgram Run() {
    const size_t n = l_.code.size();
    for (const LoopInstr& i : l_.code) {
      folds_cols_ |= i.kind == LoopKind::kFoldCols;
      folds_rows_ |= i.kind == LoopKind::kFoldRows;
    }
    Collapse();
    FindExtents();
    ChooseTile();
    FindLevels();
    places_.resize(n);
    p_.row_steps.resize(static_cast<size_t>(p_.levels));
    p_.steps.resize(static_cast<size_t>(p_.levels));
    PlaceOutputs();
    for (size_t k = 0; k < n; ++k) Emit(static_cast<int32_t>(k));
    for (size_t k = 0; k < l_.outputs.size(); ++k) Store(static_cast<int32_t>(k));
    AllocateScratch();
    Share();
    FindAliases();
    return std::move(p_);
  }

 private:
  // --- The space --------------------------------------------------------------------------------
  // Joins neighbouring axes that every operand walks as one. With folds over columns, rows and
  // columns stay apart; a fold of everything is a fold over the columns of a flat space.
  void Collapse() {
    const int rank = l_.rank();
    flat_ = folds_rows_ && l_.column_axes == 0;
    const int border = folds_cols_ || (folds_rows_ && !flat_) ? rank - l_.column_axes : -1;
    std::vector<bool> indexed(static_cast<size_t>(rank));
    for (const LoopInstr& i : l_.code) {
      if (i.kind == LoopKind::kIndex) indexed[i.operand] = true;
    }
    const auto stride = [&](const LoopOperand& o, int d) {
      return l_.sizes[d] == 1 ? 0 : o.strides[d];
    };
    struct Axis {
      int64_t size = 1;
      std::vector<int64_t> strides;
      bool column = false, indexed = false;
    };
    std::vector<Axis> axes;
    axis_of_.assign(static_cast<size_t>(rank), -1);
    for (int d = 0; d < rank; ++d) {
      if (l_.sizes[d] == 1) continue;
      Axis a{l_.sizes[d], {}, border >= 0 && d >= border, indexed[d]};
      for (const auto* list : {&l_.inputs, &l_.outputs}) {
        for (const LoopOperand& o : *list) a.strides.push_back(stride(o, d));
      }
      bool joins =
          !axes.empty() && axes.back().column == a.column && !axes.back().indexed && !a.indexed;
      for (size_t k = 0; joins && k < a.strides.size(); ++k) {
        joins = axes.back().strides[k] == a.strides[k] * a.size;
      }
      if (joins) {
        axes.back().size *= a.size;
        axes.back().strides = std::move(a.strides);
      } else {
        axes.push_back(std::move(a));
      }
      axis_of_[d] = static_cast<int>(axes.size()) - 1;
    }
    Axis none{1, std::vector<int64_t>(l_.inputs.size() + l_.outputs.size()), border >= 0, false};
    size_t columns = 0;
    for (const Axis& a : axes) columns += a.column;
    if (border >= 0) {
      if (columns > 1) throw Unfit{"its columns are several axes"};
      if (columns == 0) axes.push_back(none);
    } else if (axes.empty()) {
      axes.push_back(none);
    }
    none.column = false;
    if (axes.size() == 1) {
      axes.insert(axes.begin(), none);
      for (int& d : axis_of_) d += d >= 0;
    }
    const size_t last = axes.size() - 1;
    for (size_t d = 0; d + 1 < last; ++d) p_.outer.push_back(axes[d].size);
    p_.rows = axes[last - 1].size;
    p_.cols = axes[last].size;
    if (folds_rows_ && (!p_.outer.empty() || (flat_ && p_.rows > 1))) {
      throw Unfit{"its rows are several axes"};
    }
    for (size_t k = 0; k < l_.inputs.size() + l_.outputs.size(); ++k) {
      TileOperand o;
      for (size_t d = 0; d + 1 < last; ++d) o.outer.push_back(axes[d].strides[k]);
      o.row = axes[last - 1].strides[k];
      o.col = axes[last].strides[k];
      const bool input = k < l_.inputs.size();
      const DType dtype = input ? l_.inputs[k].dtype : l_.outputs[k - l_.inputs.size()].dtype;
      o.size = static_cast<int8_t>(SizeOf(dtype));
      (input ? p_.inputs : p_.outputs).push_back(std::move(o));
    }
  }

  bool Outer(const TileOperand& o) const {
    return std::any_of(o.outer.begin(), o.outer.end(), [](int64_t s) { return s != 0; });
  }

  // Over the collapsed space; a value that varies over outer axes varies from row to row.
  void FindExtents() {
    extent_.clear();
    for (const LoopInstr& i : l_.code) {
      uint8_t e = 0;
      switch (i.kind) {
        case LoopKind::kLoad: {
          const TileOperand& o = p_.inputs[i.operand];
          if (o.row != 0 || Outer(o)) e |= kPerRow;
          if (o.col != 0) e |= kPerColumn;
          break;
        }
        case LoopKind::kNumber: break;
        case LoopKind::kIndex: {
          const int axis = axis_of_[i.operand];
          if (axis >= 0) e |= axis == static_cast<int>(p_.outer.size()) + 1 ? kPerColumn : kPerRow;
          break;
        }
        case LoopKind::kScalar:
        case LoopKind::kCast:
          for (int32_t a : i.args) {
            if (a >= 0) e |= extent_[a];
          }
          break;
        case LoopKind::kFoldCols:
          e = extent_[i.args[0]] & kPerRow;
          if ((extent_[i.args[0]] & kPerColumn) == 0 && p_.cols > 1) {
            throw Unfit{"it folds a value that is the same in all columns"};
          }
          break;
        case LoopKind::kFoldRows:
          e = flat_ ? 0 : extent_[i.args[0]] & kPerColumn;
          if ((extent_[i.args[0]] & (flat_ ? kPerColumn : kPerRow)) == 0 &&
              (flat_ ? p_.cols : p_.rows) > 1) {
            throw Unfit{"it folds a value that is the same in all rows"};
          }
          break;
      }
      // What the prologue would keep per column must fit; else it is computed with the rows.
      if (e == kPerColumn && (p_.rows == 1 || p_.cols * 8 > kMostColumnBytes)) e |= kPerRow;
      extent_.push_back(e);
    }
  }

  void ChooseTile() {
    p_.whole_rows = folds_cols_;
    for (const TileOperand& o : p_.outputs) {
      bool some = p_.rows > 1 && o.row != 0, all = p_.rows == 1 || o.row != 0;
      for (size_t d = 0; d < o.outer.size(); ++d) {
        some |= o.outer[d] != 0;
        all &= o.outer[d] != 0;
      }
      if (some && !all) throw Unfit{"an output does not cover its rows"};
      p_.whole_rows |= some && o.col == 0;  // nobody else writes a row's value
    }
    p_.chunk_cols = std::min(p_.cols, kTileElements);
    p_.block_rows = std::clamp<int64_t>(kTileElements / p_.chunk_cols, 1, p_.rows);
  }

  // --- Levels
  // -------------------------------------------------------------------------------------
  bool Full(int32_t v) const { return extent_[v] == (kPerRow | kPerColumn); }

  void FindLevels() {
    const size_t n = l_.code.size();
    level_.assign(n, 0);
    p_.levels = 1;
    for (size_t k = 0; k < n; ++k) {
      const LoopInstr& i = l_.code[k];
      for (int32_t a : i.args) {
        if (a >= 0) level_[k] = std::max(level_[k], level_[a]);
      }
      if (i.kind == LoopKind::kFoldCols) ++level_[k];
      p_.levels = std::max(p_.levels, level_[k] + 1);
    }
    // A full value is computed where it is first read: what is not kept between levels costs no
    // memory.
    constexpr int kNever = 1 << 20;
    std::vector<int> wanted(n, kNever);
    for (const LoopOperand& o : l_.outputs) wanted[o.value] = level_[o.value];
    for (size_t k = n; k-- > 0;) {
      const LoopInstr& i = l_.code[k];
      if (Full(static_cast<int32_t>(k)) && wanted[k] != kNever) level_[k] = wanted[k];
      const int use = i.kind == LoopKind::kFoldCols ? level_[k] - 1 : level_[k];
      for (int32_t a : i.args) {
        if (a >= 0) wanted[a] = std::min(wanted[a], use);
      }
    }
    last_level_.assign(n, 0);
    for (size_t k = 0; k < n; ++k) {
      const LoopInstr& i = l_.code[k];
      for (int32_t a : i.args) {
        if (a < 0) continue;
        last_level_[a] =
            std::max(last_level_[a], i.kind == LoopKind::kFoldCols ? level_[k] - 1 : level_[k]);
      }
    }
    for (const LoopOperand& o : l_.outputs) {
      last_level_[o.value] = std::max(last_level_[o.value], level_[o.value]);
    }
  }

  // --- Places
  // -------------------------------------------------------------------------------------
  TilePlace Scratch(int32_t v) {
    TilePlace place{.base = Base::kScratch,
                    .index = static_cast<int32_t>(buffers_.size()),
                    .size = static_cast<int8_t>(SizeOf(l_.code[v].dtype))};
    Buffer b;
    const uint8_t e = extent_[v];
    if (Full(v)) {
      place.chunked = last_level_[v] == level_[v];
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
      if (direct_[o.value] >= 0 || o.dtype != i.dtype || !Full(o.value)) continue;
      if (p_.outputs[k].col != 1) continue;
      direct_[o.value] = static_cast<int32_t>(k);
      stored_[k] = true;
    }
  }

  std::vector<TileStep>& StepsOf(int32_t v) {
    if (Full(v)) return p_.steps[level_[v]];
    if (extent_[v] == kPerRow) return p_.row_steps[level_[v]];
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
  // -------------------------------------------------------------------------------
  void Emit(int32_t v) {
    const LoopInstr& i = l_.code[v];
    switch (i.kind) {
      case LoopKind::kLoad: return Load(v);
      case LoopKind::kNumber: return EmitNumber(v);
      case LoopKind::kIndex: return Index(v);
      case LoopKind::kScalar: return Function(v);
      case LoopKind::kCast: return EmitCast(v);
      case LoopKind::kFoldCols: return FoldCols(v);
      case LoopKind::kFoldRows: return FoldRows(v);
    }
  }

  // A load is read where it lies, unless it is of a half type or in steps no loop takes.
  void Load(int32_t v) {
    const LoopInstr& i = l_.code[v];
    const TilePlace from = Memory(Base::kInput, i.operand);
    const DType dtype = l_.inputs[i.operand].dtype;
    const bool half = LoopDType(dtype) != dtype;
    const bool walks =
        extent_[v] == kPerRow ? from.row == 0 || from.row == 1 : from.col == 0 || from.col == 1;
    if (!half && walks) {
      places_[v] = from;
      return;
    }
    TileStep step{.kind = half ? Kind::kWiden : Kind::kCopy, .n_in = 1};
    step.half = dtype == DType::kBFloat16;
    if (half && !walks) throw Unfit{"a half type in steps"};
    step.in[0] = from;
    step.out = places_[v] = Scratch(v);
    Push(StepsOf(v), step, extent_[v] == kPerRow);
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
    step.axis = axis_of_[l_.code[v].operand];
    step.out = places_[v] = Scratch(v);
    Push(StepsOf(v), step, extent_[v] == kPerRow);
  }

  void Function(int32_t v) {
    const LoopInstr& i = l_.code[v];
    const int data = i.op == kernels::ScalarOp::kWhere ? 1 : 0;
    TileStep step{.kind = Kind::kFunction, .n_in = static_cast<int8_t>(kernels::Arity(i.op))};
    step.fn = ElementwiseFunction(i.op, l_.code[i.args[data]].dtype);
    if (step.fn == nullptr) throw Unfit{StrCat("no loop for ", kernels::Name(i.op))};
    std::copy_n(i.number, 2, step.params);
    for (int k = 0; k < step.n_in; ++k) step.in[k] = places_[i.args[k]];
    cost_ += Full(v) ? (ElementwiseIsCostly(i.op) ? 6 : 1) : 0;
    step.out = places_[v] = direct_[v] >= 0 ? Memory(Base::kOutput, direct_[v]) : Scratch(v);
    Push(StepsOf(v), step, extent_[v] == kPerRow);
  }

  void EmitCast(int32_t v) {
    const LoopInstr& i = l_.code[v];
    const int32_t a = i.args[0];
    TileStep step{.kind = Kind::kCast, .n_in = 1, .from = l_.code[a].dtype, .to = i.dtype};
    step.in[0] = places_[a];
    ++cost_;
    step.out = places_[v] = direct_[v] >= 0 ? Memory(Base::kOutput, direct_[v]) : Scratch(v);
    Push(StepsOf(v), step, extent_[v] == kPerRow);
  }

  void FoldCols(int32_t v) {
    const LoopInstr& i = l_.code[v];
    const int32_t a = i.args[0];
    if (p_.cols == 1) {
      places_[v] = places_[a];
      return;
    }
    if (!Full(a)) throw Unfit{"it folds the columns of what has no rows"};
    TileStep step{.kind = Kind::kFoldCols, .n_in = 1, .f64 = i.dtype == DType::kFloat64};
    step.fold = FoldOpOf(i.fold);
    step.in[0] = places_[a];
    cost_ += 1;
    step.out = places_[v] = Scratch(v);
    Push(p_.steps[level_[v] - 1], step, false);
  }

  void FoldRows(int32_t v) {
    const LoopInstr& i = l_.code[v];
    TileStep step{.kind = Kind::kFoldRows, .n_in = 1, .f64 = i.dtype == DType::kFloat64};
    const int32_t a = i.args[0];
    step.fold = FoldOpOf(i.fold);
    step.in[0] = places_[a];
    if (!flat_ && extent_[a] != (kPerRow | kPerColumn) && extent_[a] != kPerRow) {
      throw Unfit{"it folds what does not vary over the rows"};
    }
    const bool columns = !flat_ && Full(a);
    TileAccumulator acc{.fold = step.fold, .f64 = step.f64, .width = columns ? p_.cols : 1};
    acc.offset = p_.accumulator_bytes / 8;
    p_.accumulator_bytes += Align(acc.width * 8);
    step.out = {.base = Base::kAccumulator,
                .index = static_cast<int32_t>(p_.accumulators.size()),
                .offset = acc.offset * 8,
                .col = columns ? 1 : 0,
                .size = static_cast<int8_t>(SizeOf(i.dtype))};
    places_[v] = step.out;
    cost_ += 1;
    acc.output = -1;
    p_.accumulators.push_back(acc);
    Push(Full(a) ? p_.steps[level_[a]] : p_.row_steps[level_[a]], step, !Full(a));
  }

  void Store(int32_t k) {
    if (stored_[k]) return;
    const LoopOperand& o = l_.outputs[k];
    const int32_t v = o.value;
    if (l_.code[v].kind == LoopKind::kFoldRows) {
      TileAccumulator& acc = p_.accumulators[places_[v].index];
      if (acc.output >= 0 || o.dtype != l_.code[v].dtype) throw Unfit{"a fold is stored twice"};
      acc.output = k;
      if (acc.width == 1 && p_.outputs[k].col != 0) acc.repeat = p_.cols;
      return;
    }
    const TilePlace to = Memory(Base::kOutput, k);
    const uint8_t e = static_cast<uint8_t>((to.row != 0 || Outer(p_.outputs[k]) ? kPerRow : 0) |
                                           (to.col != 0 ? kPerColumn : 0));
    const bool half = o.dtype != l_.code[v].dtype;
    TileStep step{.kind = half ? Kind::kNarrow : Kind::kCopy, .n_in = 1};
    step.half = o.dtype == DType::kBFloat16;
    step.in[0] = places_[v];
    step.out = to;
    if (half && e != extent_[v]) throw Unfit{"a half type is broadcast"};
    const bool full = e == (kPerRow | kPerColumn) || (e == kPerColumn && p_.rows == 1);
    if (full) {
      Push(p_.steps[level_[v]], step, false);
    } else if (e == kPerRow || (e == 0 && extent_[v] == kPerRow)) {
      Push(p_.row_steps[level_[v]], step, true);
    } else {
      Push(p_.finish, step, false);
    }
  }

  // --- Memory and threads
  // -------------------------------------------------------------------------
  struct Buffer {
    int64_t bytes = 0, offset = -1;
    bool persistent = false;
  };

  // Steps of different levels interleave with the order they were made in, so a buffer may be given
  // away only to values of the same list; across lists everything stays apart.
  void AllocateScratch() {
    int64_t end = 0;
    std::vector<std::vector<TileStep>*> lists = {&p_.prologue};
    for (auto& l : p_.row_steps) lists.push_back(&l);
    for (auto& l : p_.steps) lists.push_back(&l);
    lists.push_back(&p_.finish);
    std::vector<int> only(buffers_.size(), -1);  // the list that uses it; -2: several
    std::vector<int> first(buffers_.size(), -1), last(buffers_.size(), -1);
    for (size_t l = 0; l < lists.size(); ++l) {
      int at = 0;
      for (const TileStep& s : *lists[l]) {
        const auto see = [&](const TilePlace& o) {
          if (o.base != Base::kScratch) return;
          int& mine = only[o.index];
          mine = mine == -1 || mine == static_cast<int>(l) ? static_cast<int>(l) : -2;
          if (first[o.index] < 0) first[o.index] = at;
          last[o.index] = at;
        };
        for (int k = 0; k < s.n_in; ++k) see(s.in[k]);
        see(s.out);
        ++at;
      }
    }
    struct Free {
      int64_t offset, bytes;
      int list, from;
    };
    std::vector<Free> freed;
    for (size_t l = 0; l < lists.size(); ++l) {
      for (int at = 0; at < static_cast<int>(lists[l]->size()); ++at) {
        for (size_t b = 0; b < buffers_.size(); ++b) {
          Buffer& buffer = buffers_[b];
          if (first[b] != at || buffer.offset >= 0 ||
              (only[b] >= 0 && only[b] != static_cast<int>(l)))
            continue;
          const int64_t bytes = Align(buffer.bytes);
          auto fit = std::find_if(freed.begin(), freed.end(), [&](const Free& f) {
            return only[b] == f.list && f.bytes == bytes && f.from < at;
          });
          if (only[b] >= 0 && !buffer.persistent && fit != freed.end()) {
            buffer.offset = fit->offset;
            freed.erase(fit);
          } else {
            buffer.offset = end;
            end += bytes;
          }
          if (only[b] >= 0 && !buffer.persistent)
            freed.push_back({buffer.offset, bytes, only[b], last[b]});
        }
      }
    }
    for (auto* list : lists) {
      for (TileStep& s : *list) {
        for (int k = 0; k < s.n_in; ++k) Resolve(s.in[k]);
        Resolve(s.out);
      }
    }
    p_.scratch_bytes = Align(end);
  }
  void Resolve(TilePlace& o) const {
    if (o.base == Base::kScratch) o.offset = buffers_[o.index].offset;
  }

  void Share() {
    int64_t elements = p_.rows * p_.cols;
    for (int64_t n : p_.outer) elements *= n;
    if (folds_rows_) {
      p_.pieces = std::clamp<int64_t>(elements / kPieceElements, 1, kMostPieces);
      const int64_t most = flat_ ? (p_.cols + p_.chunk_cols - 1) / p_.chunk_cols : p_.rows;
      p_.pieces = std::min(p_.pieces, most);
    }
    const int64_t work = elements * std::max<int64_t>(1, cost_) / kGrain;
    p_.parts = static_cast<int>(std::clamp<int64_t>(work, 1, threads_));
    if (folds_rows_) p_.parts = static_cast<int>(std::min<int64_t>(p_.parts, p_.pieces));
  }

  // The last read of the input comes before, or is, the step that writes the output.
  void FindAliases() {
    p_.alias_ok.assign(p_.outputs.size(), std::vector<bool>(p_.inputs.size()));
    for (size_t out = 0; out < p_.outputs.size(); ++out) {
      for (size_t in = 0; in < p_.inputs.size(); ++in) {
        const TileOperand &a = p_.outputs[out], &b = p_.inputs[in];
        bool ok = a.outer == b.outer && a.row == b.row && a.col == b.col && a.size == b.size &&
                  a.col == 1;
        bool written = false;
        const auto look = [&](const std::vector<TileStep>& list) {
          for (const TileStep& s : list) {
            for (int k = 0; k < s.n_in && ok; ++k) {
              const TilePlace& o = s.in[k];
              if (o.base == Base::kInput && o.index == static_cast<int32_t>(in)) ok = !written;
            }
            written |= s.out.base == Base::kOutput && s.out.index == static_cast<int32_t>(out);
          }
        };
        look(p_.prologue);
        for (int l = 0; l < p_.levels; ++l) {
          look(p_.row_steps[l]);
          look(p_.steps[l]);
        }
        look(p_.finish);
        p_.alias_ok[out][in] = ok;
      }
    }
  }

  const LoopProgram& l_;
  int threads_;
  TileProgram p_;
  bool folds_cols_ = false, folds_rows_ = false, flat_ = false;
  std::vector<int> axis_of_;  // of the program -> collapsed; -1: size 1
  std::vector<uint8_t> extent_;
  std::vector<int> level_, last_level_;
  std::vector<TilePlace> places_;
  std::vector<int32_t> direct_;  // value -> output it is computed into
  std::vector<bool> stored_;
  std::vector<Buffer> buffers_;
  int64_t cost_ = 0;
};

}  // namespace

std::optional<TileProgram> MakeTiles(const LoopProgram& program, int threads, std::string* why) {
  try {
    return TileMaker(program, threads).Run();
  } catch (const Unfit& unfit) {
    *why = unfit.why;
    return std::nullopt;
  }
}

}  // namespace ostria::cpu
