// SPDX-License-Identifier: Apache-2.0
// A loop program made ready for the CPU: the space as [outer axes, rows, columns], a list of steps
// that each run one precompiled SIMD loop over a tile of it, and a place for every value. Tiles are
// small enough that what steps hand to each other stays in level-1 cache.
//
// Steps run in phases. The prologue computes what does not vary over rows, once. Then, per block of
// rows, each level runs its per-row steps, then its full steps chunk by chunk; a fold over the
// columns is complete when its level ends.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "backend/cpu/simd/dense_table.h"
#include "backend/cpu/simd/elementwise_table.h"
#include "loop/program.h"

namespace ostria::cpu {

struct TilePlace {
  enum class Base : uint8_t { kInput, kOutput, kScratch, kNumber, kAccumulator, kNone };
  Base base = Base::kScratch;
  int32_t index = 0;         // operand; kNumber: into `numbers`
  int64_t offset = 0;        // bytes into scratch, elements into accumulators
  int64_t row = 0, col = 0;  // elements from one row, one column to the next
  int8_t size = 4;           // bytes of an element
  bool chunked = false;      // holds one chunk of columns, not whole rows
};

struct TileStep {
  enum class Kind : uint8_t {
    kFunction,
    kWiden,
    kNarrow,
    kCopy,
    kCast,
    kIndex,
    kSoftmax,   // this and the next two: of whole rows
    kNorm,      // x, scale, shift; also the means and 1 / deviations
    kNormGrad,  // x, scale, means, 1 / deviations, g; also the sums for scale and shift
    kFoldCols,
    kFoldRows,
    kDraw
  };
  Kind kind = Kind::kFunction;
  bool per_row = false;  // one value per row: its columns are the block's rows
  bool flat = false;     // all operands are dense over the tile
  int8_t n_in = 0;
  bool past_caches = false;  // kCopy
  int8_t half = 0;           // kWiden, kNarrow: 0 float16, 1 bfloat16
  bool f64 = false;
  bool centered = false;  // kNorm, kNormGrad: not of RMS normalisation
  FoldOp fold{};
  DType from{}, to{};  // kCast, kIndex
  int32_t axis = 0;    // kIndex: of the collapsed space
  int64_t repeat = 1;  // prologue: runs as so many rows, which share the columns
  ElementwiseFn fn = nullptr;
  double params[2] = {};
  uint64_t stream = 0;  // kDraw: in[0] is the first element's number, in[1] the key
  TilePlace in[5], out,
      also[2] = {{.base = TilePlace::Base::kNone}, {.base = TilePlace::Base::kNone}};

  bool of_rows() const { return kind >= Kind::kSoftmax && kind <= Kind::kNormGrad; }
};

struct TileOperand {
  std::vector<int64_t> outer;  // strides of the outer axes
  int64_t row = 0, col = 0;
  int8_t size = 4;
  int64_t repeat = 1;  // rows that were joined to one: how often its columns follow each other

  bool varies_outside() const {
    return std::any_of(outer.begin(), outer.end(), [](int64_t s) { return s != 0; });
  }
};

/// One fold over rows: `width` partial results per piece, joined in order into `output`, and only
/// then rounded where that is of a half type.
struct TileAccumulator {
  FoldOp fold{};
  bool f64 = false;
  int8_t half = -1;  // 0 float16, 1 bfloat16
  int32_t output = -1;
  int64_t offset = 0, width = 0;  // elements, within a piece
  int64_t repeat = 1;             // a value per row gives the same for every column
};

/// Of a chunk, where something is folded.
inline constexpr int64_t kMostTileColumns = 2048;

struct TileProgram {
  std::vector<int64_t> outer;  // sizes
  int64_t rows = 1, cols = 1;
  int64_t block_rows = 1, chunk_cols = 1;
  bool whole_rows = false;  // a block runs all chunks of its rows
  int levels = 1;
  std::vector<TileStep> prologue;
  std::vector<TileStep> finish;  // stores of what the prologue computed, once
  std::vector<std::vector<TileStep>> row_steps, steps;  // per level
  std::vector<TileOperand> inputs, outputs;
  std::vector<int32_t> ahead;  // inputs that come from memory, wanted before their rows are begun
  std::vector<TileAccumulator> accumulators;
  int64_t accumulator_bytes = 0;  // per piece
  int64_t pieces = 1;  // of rows; fixed by the sizes, so that sums do not depend on threads
  std::vector<double> numbers;  // each holds one value of its dtype
  int64_t scratch_bytes = 0;    // per thread
  int parts = 1;                // threads that share the work
  /// Per output and input: whether they may be the same memory.
  std::vector<std::vector<bool>> alias_ok;
};

/// Nothing, and the reason, where the CPU has no loop for a step.
std::optional<TileProgram> MakeTiles(const LoopProgram& program, int threads, std::string* why);

inline int64_t WorkspaceBytes(const TileProgram& p) {
  return p.scratch_bytes * p.parts + p.accumulator_bytes * p.pieces;
}
/// `ptrs`: inputs, outputs, workspace (64-byte aligned). Allocates nothing.
void RunTiles(const TileProgram& program, void* const* ptrs);

}  // namespace ostria::cpu
