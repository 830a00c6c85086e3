// SPDX-License-Identifier: Apache-2.0
// Second stage of making tiles: which instructions run as one step. A loop over whole rows takes
// the place of a softmax, a normalisation or the gradient of one; a product and the sum over the
// columns that reads it, or two cheap functions, share a loop over a tile.
#pragma once

#include <vector>

#include "backend/cpu/tile_space.h"

namespace ostria::cpu {

/// Of whole rows. Values are instructions, -1 where there is none.
struct RowLoop {
  TileStep::Kind kind = TileStep::Kind::kSoftmax;
  bool centered = false;    // kNorm, kNormGrad: not of RMS normalisation
  std::vector<int32_t> in;  // in the order of TileStep::in
  std::vector<int32_t> also;
  double epsilon = 0;
};

/// Per instruction.
struct TileMatches {
  std::vector<int> uses;          // outputs count
  std::vector<bool> absorbed;     // runs in the step of another
  std::vector<int32_t> joined;    // the instruction that is computed in the step of this one, or -1
  std::vector<int32_t> row_loop;  // of `loops`, or -1
  std::vector<bool> whole;        // of rows that such a loop reads or makes, which are kept whole
  std::vector<RowLoop> loops;
};

/// Puts what a row loop makes beside its result in the level of that.
TileMatches FindMatches(const LoopProgram& program, const TileProgram& tiles, TileSpace* space);

}  // namespace ostria::cpu
