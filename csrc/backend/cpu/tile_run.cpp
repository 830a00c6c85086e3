// SPDX-License-Identifier: Apache-2.0
// The interpreter: for every tile, every step.
#include <algorithm>
#include <cstring>
#include <limits>

#include "backend/cpu/simd/copy.h"
#include "backend/cpu/simd/elementwise.h"
#include "backend/cpu/simd/random.h"
#include "backend/cpu/tile_program.h"
#include "base/copy_past_caches.h"
#include "base/parallel.h"

namespace ostria::cpu {
namespace {

using Base = TilePlace::Base;
using Kind = TileStep::Kind;

// One block of rows (or a chunk of it) as one thread sees it.
class TileRunner {
 public:
  TileRunner(const TileProgram& p, void* const* ptrs, char* scratch, char* accumulators)
      : p_(p), ptrs_(ptrs), scratch_(scratch), accumulators_(accumulators) {}

  void Prologue() { Once(p_.prologue); }
  void Finish() { Once(p_.finish); }

  void Outer(int64_t index) {
    if (p_.outer.empty()) return;
    for (size_t d = p_.outer.size(); d-- > 0; index /= p_.outer[d]) {
      outer_[d] = index % p_.outer[d];
    }
  }

  /// Asks memory for what the chunk at (row, col) will read.
  void Fetch(int64_t row, int64_t col) const {
    constexpr int64_t kLine = 64;
    const int64_t rows = std::min(p_.block_rows, p_.rows - row);
    const int64_t cols = std::min(p_.chunk_cols, p_.cols - col);
    for (const int32_t k : p_.ahead) {
      const TileOperand& o = p_.inputs[k];
      int64_t at = row * o.row + col;
      for (size_t d = 0; d < p_.outer.size(); ++d) at += outer_[d] * o.outer[d];
      const char* line = static_cast<const char*>(ptrs_[k]) + at * o.size;
      for (int64_t r = 0; r < rows; ++r, line += o.row * o.size) {
        for (int64_t b = 0; b < cols * o.size; b += kLine) __builtin_prefetch(line + b, 0, 2);
      }
    }
  }

  /// Rows [row, row + rows), all columns.
  void Block(int64_t row, int64_t rows) {
    row_ = row;
    rows_ = rows;
    for (int level = 0; level < p_.levels; ++level) {
      RowSteps(level);
      for (int64_t col = 0; col < p_.cols; col += p_.chunk_cols) {
        if (level == 1) Fetch(row + rows, col);
        Chunk(level, col);
      }
    }
  }
  /// The same of one chunk of columns, where there is one level.
  void BlockChunk(int64_t row, int64_t rows, int64_t col) {
    row_ = row;
    rows_ = rows;
    RowSteps(0);
    Chunk(0, col);
  }

 private:
  void Once(const std::vector<TileStep>& steps) {
    for (const TileStep& s : steps) {
      rows_ = s.repeat;
      cols_ = s.out.col == 0 ? 1 : p_.cols / s.repeat;
      Run(s);
    }
  }

  void RowSteps(int level) {
    col_ = 0;
    cols_ = rows_;  // one value per row: the rows are what the loop runs along
    const int64_t rows = rows_;
    for (const TileStep& s : p_.row_steps[level]) {
      rows_ = s.kind == Kind::kFoldRows || s.of_rows() ? rows : 1;
      Run(s);
    }
    rows_ = rows;
  }

  void Chunk(int level, int64_t col) {
    col_ = col;
    cols_ = std::min(p_.chunk_cols, p_.cols - col);
    for (const TileStep& s : p_.steps[level]) Run(s);
  }

  const char* Numbers(int32_t index) const {
    return reinterpret_cast<const char*>(p_.numbers.data() + index);
  }

  char* Memory(const TileOperand& o, void* base) const {
    int64_t at = row_ * o.row + col_ * o.col;
    for (size_t d = 0; d < p_.outer.size(); ++d) at += outer_[d] * o.outer[d];
    return static_cast<char*>(base) + at * o.size;
  }

  char* At(const TilePlace& o) const {
    switch (o.base) {
      case Base::kInput: return Memory(p_.inputs[o.index], ptrs_[o.index]);
      case Base::kOutput:
        return Memory(p_.outputs[o.index], ptrs_[p_.inputs.size() + static_cast<size_t>(o.index)]);
      case Base::kNumber: return const_cast<char*>(Numbers(o.index));
      case Base::kAccumulator: return accumulators_ + o.offset + col_ * o.col * o.size;
      case Base::kNone: return nullptr;
      case Base::kScratch: break;
    }
    return scratch_ + o.offset + (o.chunked ? 0 : col_ * o.col * o.size);
  }

  void Run(const TileStep& s) {
    switch (s.kind) {
      case Kind::kFunction: return Function(s);
      case Kind::kSoftmax: return s.f64 ? Softmax<double>(s) : Softmax<float>(s);
      case Kind::kNorm: return s.f64 ? Norm<double>(s) : Norm<float>(s);
      case Kind::kNormGrad: return s.f64 ? NormGrad<double>(s) : NormGrad<float>(s);
      case Kind::kFoldCols: return s.f64 ? FoldCols<double>(s) : FoldCols<float>(s);
      case Kind::kFoldRows: return s.f64 ? FoldRows<double>(s) : FoldRows<float>(s);
      case Kind::kIndex: return s.to == DType::kInt32 ? Index<int32_t>(s) : Index<int64_t>(s);
      case Kind::kDraw: return Draw(s);
      case Kind::kWiden:
      case Kind::kNarrow:
      case Kind::kCopy:
      case Kind::kCast: return Move(s);
    }
  }

  void Function(const TileStep& s) {
    ElementwiseTile t;
    t.params = s.params;
    t.rows = rows_;
    t.cols = cols_;
    if (s.flat) {
      t.rows = 1;
      t.cols = rows_ * cols_;
    }
    for (int k = 0; k < s.n_in; ++k) {
      t.in[k] = At(s.in[k]);
      t.in_row[k] = s.in[k].row;
      t.in_col[k] = s.per_row ? s.in[k].row : s.in[k].col;
    }
    t.out = At(s.out);
    t.out_row = s.out.row;
    s.fn(t);
  }

  // Row by row: these are rarer than functions.
  void Move(const TileStep& s) {
    const TilePlace &in = s.in[0], &out = s.out;
    const char* src = At(in);
    char* dst = At(out);
    const int64_t src_step = s.per_row ? in.row : in.col, dst_step = s.per_row ? out.row : out.col;
    for (int64_t r = 0; r < rows_; ++r, src += in.row * in.size, dst += out.row * out.size) {
      if (s.past_caches && src_step == 1 && dst_step == 1) {
        CopyPastCaches(dst, src, cols_ * in.size);
      } else if (s.kind == Kind::kCopy) {
        CopyRow(src, src_step, dst, dst_step, in.size);
      } else if (src_step == 1 && dst_step == 1) {
        Convert(s, src, dst, cols_);
      } else {
        for (int64_t c = 0; c < cols_; ++c) {
          Convert(s, src + c * src_step * in.size, dst + c * dst_step * out.size, 1);
        }
      }
    }
  }

  static void Convert(const TileStep& s, const char* src, char* dst, int64_t n) {
    if (s.kind == Kind::kWiden) {
      HalfConversions().from_half[s.half](reinterpret_cast<const uint16_t*>(src),
                                          reinterpret_cast<float*>(dst), n);
    } else if (s.kind == Kind::kNarrow) {
      HalfConversions().to_half[s.half](reinterpret_cast<const float*>(src),
                                        reinterpret_cast<uint16_t*>(dst), n);
    } else {
      Cast(s.from, src, s.to, dst, n);
    }
  }

  void CopyRow(const char* src, int64_t src_step, char* dst, int64_t dst_step, int size) const {
    if (src_step == 1 && dst_step == 1) {
      std::memcpy(dst, src, static_cast<size_t>(cols_ * size));
      return;
    }
    for (int64_t c = 0; c < cols_; ++c) {
      std::memcpy(dst + c * dst_step * size, src + c * src_step * size, static_cast<size_t>(size));
    }
  }

  template <class T>
  void Index(const TileStep& s) {
    T* out = reinterpret_cast<T*>(At(s.out));
    const int n_outer = static_cast<int>(p_.outer.size());
    for (int64_t r = 0; r < rows_; ++r, out += s.out.row) {
      for (int64_t c = 0; c < cols_; ++c) {
        int64_t index = s.per_row ? row_ + c : row_ + r;
        if (s.axis == n_outer + 1) index = col_ + c;
        if (s.axis < n_outer) index = outer_[s.axis];
        out[c] = static_cast<T>(index);
      }
    }
  }

  // The tile's elements follow each other: it is whole rows, a part of one, or rows of one column.
  void Draw(const TileStep& s) {
    uint64_t at = 0, first = 0;
    for (size_t d = 0; d < p_.outer.size(); ++d) {
      at = at * static_cast<uint64_t>(p_.outer[d]) + static_cast<uint64_t>(outer_[d]);
    }
    at = (at * static_cast<uint64_t>(p_.rows) + static_cast<uint64_t>(row_)) *
             static_cast<uint64_t>(p_.cols) +
         static_cast<uint64_t>(col_);
    std::memcpy(&first, At(s.in[0]), sizeof first);
    RandomKey key{.stream = s.stream};
    const char* numbers = static_cast<const char*>(ptrs_[s.in[1].index]);
    std::memcpy(&key.seed, numbers, sizeof key.seed);
    std::memcpy(&key.step, numbers + sizeof key.seed, sizeof key.step);
    FillBernoulli(key, first + at, reinterpret_cast<bool*>(At(s.out)), rows_ * cols_, s.params[0]);
  }

  template <class T>
  static T Join(FoldOp op, T a, T b) {
    switch (op) {
      case FoldOp::kProd: return a * b;
      case FoldOp::kMax: return a != a || a > b ? a : b;
      case FoldOp::kMin: return a != a || a < b ? a : b;
      default: return a + b;
    }
  }

  template <class T>
  void Softmax(const TileStep& s) {
    const T* x = reinterpret_cast<const T*>(At(s.in[0]));
    T* y = reinterpret_cast<T*>(At(s.out));
    for (int64_t r = 0; r < rows_; ++r, x += s.in[0].row, y += s.out.row) {
      DenseOf<T>().softmax(x, y, 1, p_.cols, false);
    }
  }

  // Row by row through a place, or nothing.
  template <class T>
  struct RowPointer {
    T* at;
    int64_t step;
    T* Next() {
      T* const row = at;
      if (at != nullptr) at += step;
      return row;
    }
  };
  template <class T>
  RowPointer<T> RowsAt(const TilePlace& o) const {
    return {reinterpret_cast<T*>(At(o)), o.row};
  }

  template <class T>
  void Norm(const TileStep& s) {
    const auto norm = s.centered ? DenseOf<T>().layer_norm : DenseOf<T>().rms_norm;
    auto x = RowsAt<T>(s.in[0]), scale = RowsAt<T>(s.in[1]), shift = RowsAt<T>(s.in[2]);
    auto y = RowsAt<T>(s.out), mean = RowsAt<T>(s.also[0]), rstd = RowsAt<T>(s.also[1]);
    for (int64_t r = 0; r < rows_; ++r) {
      norm(x.Next(), scale.Next(), shift.Next(), s.params[0], y.Next(), mean.Next(), rstd.Next(), 1,
           p_.cols, false);
    }
  }

  template <class T>
  void NormGrad(const TileStep& s) {
    const auto grad = s.centered ? DenseOf<T>().layer_norm_grad : DenseOf<T>().rms_norm_grad;
    auto x = RowsAt<T>(s.in[0]), scale = RowsAt<T>(s.in[1]), mean = RowsAt<T>(s.in[2]);
    auto rstd = RowsAt<T>(s.in[3]), g = RowsAt<T>(s.in[4]), dx = RowsAt<T>(s.out);
    T *const dscale = RowsAt<T>(s.also[0]).at, *const dshift = RowsAt<T>(s.also[1]).at;
    for (int64_t r = 0; r < rows_; ++r) {
      grad(x.Next(), scale.Next(), mean.Next(), rstd.Next(), g.Next(), dx.Next(), dscale, dshift, 1,
           p_.cols, false);
    }
  }

  template <class T>
  void FoldCols(const TileStep& s) {
    const auto fold = DenseOf<T>().fold[static_cast<int>(s.fold)];
    const T* x = reinterpret_cast<const T*>(At(s.in[0]));
    const T* y = s.n_in == 2 ? reinterpret_cast<const T*>(At(s.in[1])) : nullptr;
    T* out = reinterpret_cast<T*>(scratch_ + s.out.offset);
    for (int64_t r = 0; r < rows_; ++r, x += s.in[0].row) {
      const T part =
          y == nullptr ? fold(x, cols_) : DenseOf<T>().dot(x, y + r * s.in[1].row, cols_);
      out[r] = col_ == 0 ? part : Join(s.fold, out[r], part);
    }
  }

  template <class T>
  void FoldRows(const TileStep& s) {
    T* acc = reinterpret_cast<T*>(At(s.out));
    const TilePlace& in = s.in[0];
    const T* x = reinterpret_cast<const T*>(At(in));
    const auto& dense = DenseOf<T>();
    const int op = static_cast<int>(s.fold);
    if (s.per_row) {  // one value per row, folded to one
      for (int64_t r = 0; r < rows_; ++r) *acc = Join(s.fold, *acc, x[r * in.row]);
      return;
    }
    if (s.out.col == 0) {
      for (int64_t r = 0; r < rows_; ++r, x += in.row) {
        *acc = Join(s.fold, *acc, dense.fold[op](x, cols_));
      }
      return;
    }
    alignas(64) T part[kMostTileColumns];
    if (in.col == 0) {  // a value per row, the same in every column
      for (int64_t r = 0; r < rows_; ++r, x += in.row) {
        for (int64_t c = 0; c < cols_; ++c) acc[c] = Join(s.fold, acc[c], *x);
      }
      return;
    }
    const T* more = x;
    if (rows_ > 1) {
      dense.fold_columns[op](x, rows_, cols_, in.row, part);
      more = part;
    }
    s.fn({.in = {acc, more}, .out = acc, .rows = 1, .cols = cols_, .in_col = {1, 1}});
  }

  const TileProgram& p_;
  void* const* ptrs_;
  char* scratch_;
  char* accumulators_;
  int64_t outer_[kMaxRank] = {};
  int64_t row_ = 0, rows_ = 1, col_ = 0, cols_ = 1;
};

template <class T>
T Identity(FoldOp op) {
  switch (op) {
    case FoldOp::kProd: return 1;
    case FoldOp::kMax: return -std::numeric_limits<T>::infinity();
    case FoldOp::kMin: return std::numeric_limits<T>::infinity();
    default: return 0;
  }
}

template <class T>
void Begin(const TileAccumulator& a, char* piece) {
  std::fill_n(reinterpret_cast<T*>(piece + a.offset * 8), a.width, Identity<T>(a.fold));
}

// Columns [first, first + n) of what the pieces folded.
template <class T>
void JoinPieces(const TileProgram& p, const TileAccumulator& a, const char* pieces, int64_t first,
                int64_t n, T* out) {
  const T* parts = reinterpret_cast<const T*>(pieces + a.offset * 8) + first;
  const int64_t stride = p.accumulator_bytes / static_cast<int64_t>(sizeof(T));
  DenseOf<T>().fold_columns[static_cast<int>(a.fold)](parts, p.pieces, n, stride, out);
}

void Join(const TileProgram& p, const TileAccumulator& a, const char* pieces, void* out) {
  if (a.half >= 0) {
    alignas(64) float part[kMostTileColumns];
    for (int64_t c = 0; c < a.width; c += kMostTileColumns) {
      const int64_t n = std::min(kMostTileColumns, a.width - c);
      JoinPieces(p, a, pieces, c, n, part);
      HalfConversions().to_half[a.half](part, static_cast<uint16_t*>(out) + c, n);
    }
  } else if (a.f64) {
    JoinPieces(p, a, pieces, 0, a.width, static_cast<double*>(out));
  } else {
    JoinPieces(p, a, pieces, 0, a.width, static_cast<float*>(out));
  }
  const int size = p.outputs[a.output].size;
  Fill(static_cast<char*>(out) + size, out, size, a.repeat - 1);
}

int64_t Ceil(int64_t n, int64_t d) { return (n + d - 1) / d; }

// Pieces of the rows (or, in a flat space, of the columns), each with its own partial results.
void RunPieces(const TileProgram& p, void* const* ptrs, char* scratch, char* pieces) {
  const bool flat = p.rows == 1;
  const int64_t units = flat ? Ceil(p.cols, p.chunk_cols) : p.rows;
  ParallelFor(p.parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      char* const mine = scratch + part * p.scratch_bytes;
      for (int64_t k = p.pieces * part / p.parts; k < p.pieces * (part + 1) / p.parts; ++k) {
        char* const piece = pieces + k * p.accumulator_bytes;
        for (const TileAccumulator& a : p.accumulators) {
          a.f64 ? Begin<double>(a, piece) : Begin<float>(a, piece);
        }
        TileRunner run(p, ptrs, mine, piece);
        run.Prologue();
        const int64_t first = units * k / p.pieces, last = units * (k + 1) / p.pieces;
        if (flat && !p.whole_rows) {
          for (int64_t u = first; u < last; ++u) run.BlockChunk(0, 1, u * p.chunk_cols);
        } else {
          for (int64_t r = first; r < last; r += p.block_rows) {
            run.Block(r, std::min(p.block_rows, last - r));
          }
        }
      }
    }
  });
  TileRunner(p, ptrs, scratch, nullptr).Finish();
  for (const TileAccumulator& a : p.accumulators) {
    void* out = ptrs[p.inputs.size() + static_cast<size_t>(a.output)];
    Join(p, a, pieces, out);
  }
}

}  // namespace

void RunTiles(const TileProgram& p, void* const* ptrs) {
  char* const scratch = static_cast<char*>(ptrs[p.inputs.size() + p.outputs.size()]);
  char* const pieces = scratch + p.scratch_bytes * p.parts;
  if (!p.accumulators.empty()) return RunPieces(p, ptrs, scratch, pieces);
  int64_t outer = 1;
  for (int64_t n : p.outer) outer *= n;
  const int64_t blocks = Ceil(p.rows, p.block_rows);
  const int64_t chunks = p.whole_rows ? 1 : Ceil(p.cols, p.chunk_cols);
  const int64_t units = outer * blocks * chunks;
  ParallelFor(p.parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      TileRunner run(p, ptrs, scratch + part * p.scratch_bytes, nullptr);
      run.Prologue();
      int64_t at_outer = -1;
      for (int64_t u = units * part / p.parts; u < units * (part + 1) / p.parts; ++u) {
        const int64_t block = u / chunks, row = block % blocks * p.block_rows;
        if (block / blocks != at_outer) run.Outer(at_outer = block / blocks);
        const int64_t rows = std::min(p.block_rows, p.rows - row);
        if (p.whole_rows) {
          run.Block(row, rows);
        } else {
          run.BlockChunk(row, rows, u % chunks * p.chunk_cols);
        }
      }
    }
  });
  TileRunner(p, ptrs, scratch, nullptr).Finish();
}

}  // namespace ostria::cpu
