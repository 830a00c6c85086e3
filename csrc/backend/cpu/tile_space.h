// SPDX-License-Identifier: Apache-2.0
// First stage of making tiles: the space as [outer axes, rows, columns], the tile, and for every
// value of the program what it varies over and in which pass over the columns it is computed.
#pragma once

#include <string>
#include <vector>

#include "backend/cpu/tile_program.h"

namespace ostria::cpu {

/// Thrown by the stages where the CPU has no loop for a program.
struct TileUnfit {
  std::string why;
};

/// What a value varies over in the collapsed space; a bit set.
enum TileExtent : uint8_t { kPerRow = 1, kPerColumn = 2 };

struct TileSpace {
  bool folds_cols = false, folds_rows = false;
  bool flat = false;         // everything is folded: one row
  std::vector<int> axis_of;  // of the program -> collapsed; -1: size 1
  // Per instruction.
  std::vector<uint8_t> extent;
  std::vector<int> level, last_level;  // where it is computed and last read

  bool Full(int32_t v) const { return extent[v] == (kPerRow | kPerColumn); }
};

/// Fills in sizes, operands, tile and levels of `out`.
TileSpace FindSpace(const LoopProgram& program, TileProgram* out);

}  // namespace ostria::cpu
