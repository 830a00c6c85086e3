// SPDX-License-Identifier: Apache-2.0
// Collapse the axes, find what every value varies over, choose the tile, order by levels.
#include "backend/cpu/tile_space.h"

#include <algorithm>

namespace ostria::cpu {
namespace {

// Folding programs take more at a time: what runs once per row or block costs as much as a hundred
// elements.
constexpr int64_t kTileElements = 512;  // of a step: 2 KB of float32
constexpr int64_t kOneStepTiles = 32;
constexpr int64_t kShortRow = 64;
constexpr int64_t kMostColumnBytes = 64 << 10;  // of what the prologue keeps per value

class SpaceFinder {
 public:
  SpaceFinder(const LoopProgram& program, TileProgram* out) : l_(program), p_(*out) {}

  TileSpace Run() {
    for (const LoopInstr& i : l_.code) {
      s_.folds_cols |= i.kind == LoopKind::kFoldCols;
      s_.folds_rows |= i.kind == LoopKind::kFoldRows;
    }
    Collapse();
    JoinShortRows();
    FindExtents();
    ChooseTile();
    FindLevels();
    return std::move(s_);
  }

 private:
  // Joins neighbouring axes that every operand walks as one. With folds over columns, rows and
  // columns stay apart; a fold of everything is a fold over the columns of a flat space.
  void Collapse() {
    const int rank = l_.rank();
    s_.flat = s_.folds_rows && l_.column_axes == 0;
    const int border = s_.folds_cols || (s_.folds_rows && !s_.flat) ? rank - l_.column_axes : -1;
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
    s_.axis_of.assign(static_cast<size_t>(rank), -1);
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
      s_.axis_of[d] = static_cast<int>(axes.size()) - 1;
    }
    Axis none{1, std::vector<int64_t>(l_.inputs.size() + l_.outputs.size()), border >= 0, false};
    size_t columns = 0;
    for (const Axis& a : axes) columns += a.column;
    if (border >= 0) {
      if (columns > 1) throw TileUnfit{"its columns are several axes"};
      if (columns == 0) axes.push_back(none);
    } else if (axes.empty()) {
      axes.push_back(none);
    }
    none.column = false;
    if (axes.size() == 1) {
      axes.insert(axes.begin(), none);
      for (int& d : s_.axis_of) d += d >= 0;
    }
    const size_t last = axes.size() - 1;
    for (size_t d = 0; d + 1 < last; ++d) p_.outer.push_back(axes[d].size);
    p_.rows = axes[last - 1].size;
    p_.cols = axes[last].size;
    if (s_.folds_rows && (!p_.outer.empty() || (s_.flat && p_.rows > 1))) {
      throw TileUnfit{"its rows are several axes"};
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

  // [rows, 3] + [3] as [rows / k, 3 k] + k times [3]: rows shorter than a few vectors waste them.
  void JoinShortRows() {
    if (s_.folds_cols || s_.folds_rows || !p_.outer.empty() || p_.cols < 2 ||
        p_.cols >= kShortRow) {
      return;
    }
    for (const LoopInstr& i : l_.code) {
      if (i.kind == LoopKind::kIndex) return;
    }
    const auto dense = [&](const TileOperand& o) { return o.row == p_.cols && o.col == 1; };
    for (const TileOperand& o : p_.inputs) {
      if (!dense(o) && !(o.row == 0 && (o.col == 0 || o.col == 1))) return;
    }
    if (!std::all_of(p_.outputs.begin(), p_.outputs.end(), dense)) return;
    int64_t k = std::min(kTileElements / p_.cols, p_.rows);
    while (p_.rows % k != 0) --k;
    if (k * p_.cols < kShortRow) return;
    p_.rows /= k;
    p_.cols *= k;
    for (auto* list : {&p_.inputs, &p_.outputs}) {
      for (TileOperand& o : *list) {
        o.row *= k;
        if (o.row == 0 && o.col == 1) o.repeat = k;
      }
    }
  }

  // Over the collapsed space; a value that varies over outer axes varies from row to row.
  void FindExtents() {
    s_.extent.clear();
    for (const LoopInstr& i : l_.code) {
      uint8_t e = 0;
      switch (i.kind) {
        case LoopKind::kLoad: {
          const TileOperand& o = p_.inputs[i.operand];
          if (o.row != 0 || o.varies_outside()) e |= kPerRow;
          if (o.col != 0) e |= kPerColumn;
          break;
        }
        case LoopKind::kNumber: break;
        case LoopKind::kIndex: {
          const int axis = s_.axis_of[i.operand];
          if (axis >= 0) e |= axis == static_cast<int>(p_.outer.size()) + 1 ? kPerColumn : kPerRow;
          break;
        }
        case LoopKind::kScalar:
        case LoopKind::kCast:
          for (int32_t a : i.args) {
            if (a >= 0) e |= s_.extent[a];
          }
          break;
        case LoopKind::kFoldCols:
          e = s_.extent[i.args[0]] & kPerRow;
          if ((s_.extent[i.args[0]] & kPerColumn) == 0 && p_.cols > 1) {
            throw TileUnfit{"it folds a value that is the same in all columns"};
          }
          break;
        case LoopKind::kFoldRows:
          e = s_.flat ? 0 : s_.extent[i.args[0]] & kPerColumn;
          if ((s_.extent[i.args[0]] & (s_.flat ? kPerColumn : kPerRow)) == 0 &&
              (s_.flat ? p_.cols : p_.rows) > 1) {
            throw TileUnfit{"it folds a value that is the same in all rows"};
          }
          break;
        case LoopKind::kDraw:
          if (p_.rows > 1 || !p_.outer.empty()) e |= kPerRow;
          if (p_.cols > 1) e |= kPerColumn;
          break;
      }
      // What the prologue would keep per column must fit; else it is computed with the rows.
      const bool repeated = i.kind == LoopKind::kLoad && p_.inputs[i.operand].repeat > 1;
      if (e == kPerColumn && !repeated && (p_.rows == 1 || p_.cols * 8 > kMostColumnBytes)) {
        e |= kPerRow;
      }
      s_.extent.push_back(e);
    }
  }

  // Nothing is handed from step to step, so a tile need not stay in level-1 cache.
  bool IsOneStep() const {
    int steps = 0;
    for (const LoopInstr& i : l_.code) {
      steps += i.kind != LoopKind::kLoad && i.kind != LoopKind::kNumber;
    }
    const auto direct = [](const LoopOperand& l, const TileOperand& o) {
      return LoopDType(l.dtype) == l.dtype && (o.col == 0 || o.col == 1) && o.repeat == 1;
    };
    for (size_t k = 0; k < l_.inputs.size(); ++k) {
      if (!direct(l_.inputs[k], p_.inputs[k])) return false;
    }
    return steps == 1 && l_.outputs.size() == 1 && direct(l_.outputs[0], p_.outputs[0]);
  }

  void ChooseTile() {
    p_.whole_rows = s_.folds_cols;
    for (const TileOperand& o : p_.outputs) {
      bool some = p_.rows > 1 && o.row != 0, all = p_.rows == 1 || o.row != 0;
      for (size_t d = 0; d < o.outer.size(); ++d) {
        some |= o.outer[d] != 0;
        all &= o.outer[d] != 0;
      }
      if (some && !all) throw TileUnfit{"an output does not cover its rows"};
      p_.whole_rows |= some && o.col == 0;  // nobody else writes a row's value
    }
    const bool folds = s_.folds_cols || s_.folds_rows;
    const int64_t elements = folds         ? kMostTileColumns
                             : IsOneStep() ? kTileElements * kOneStepTiles
                                           : kTileElements;
    p_.chunk_cols = std::min(p_.cols, elements);
    p_.block_rows = std::clamp<int64_t>(elements / p_.chunk_cols, 1, p_.rows);
  }

  void FindLevels() {
    const size_t n = l_.code.size();
    s_.level.assign(n, 0);
    p_.levels = 1;
    for (size_t k = 0; k < n; ++k) {
      const LoopInstr& i = l_.code[k];
      for (int32_t a : i.args) {
        if (a >= 0) s_.level[k] = std::max(s_.level[k], s_.level[a]);
      }
      if (i.kind == LoopKind::kFoldCols) ++s_.level[k];
      p_.levels = std::max(p_.levels, s_.level[k] + 1);
    }
    // A full value is computed where it is first read: what is not kept between levels costs no
    // memory.
    constexpr int kNever = 1 << 20;
    std::vector<int> wanted(n, kNever);
    for (const LoopOperand& o : l_.outputs) wanted[o.value] = s_.level[o.value];
    for (size_t k = n; k-- > 0;) {
      const LoopInstr& i = l_.code[k];
      if (s_.Full(static_cast<int32_t>(k)) && wanted[k] != kNever) s_.level[k] = wanted[k];
      const int use = i.kind == LoopKind::kFoldCols ? s_.level[k] - 1 : s_.level[k];
      for (int32_t a : i.args) {
        if (a >= 0) wanted[a] = std::min(wanted[a], use);
      }
    }
    s_.last_level.assign(n, 0);
    for (size_t k = 0; k < n; ++k) {
      const LoopInstr& i = l_.code[k];
      for (int32_t a : i.args) {
        if (a < 0) continue;
        s_.last_level[a] = std::max(s_.last_level[a],
                                    i.kind == LoopKind::kFoldCols ? s_.level[k] - 1 : s_.level[k]);
      }
    }
    for (const LoopOperand& o : l_.outputs) {
      s_.last_level[o.value] = std::max(s_.last_level[o.value], s_.level[o.value]);
    }
  }

  const LoopProgram& l_;
  TileProgram& p_;
  TileSpace s_;
};

}  // namespace

TileSpace FindSpace(const LoopProgram& program, TileProgram* out) {
  return SpaceFinder(program, out).Run();
}

}  // namespace ostria::cpu
