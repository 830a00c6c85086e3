// SPDX-License-Identifier: Apache-2.0
// Scratch memory of a tile program: buffers that are never alive together share their place.
#pragma once

#include <vector>

#include "backend/cpu/tile_program.h"

namespace ostria::cpu {

inline int64_t AlignTile(int64_t bytes) { return (bytes + 63) / 64 * 64; }

struct TileBuffer {
  int64_t bytes = 0, offset = -1;
  bool persistent = false;  // lives from the prologue to the end
};

/// Gives every buffer an offset and puts it into the places of the steps, which hold its index.
void PlaceScratch(std::vector<TileBuffer>& buffers, TileProgram* program);
/// Fills in `alias_ok`: the last read of the input comes before, or is, the step that writes the
/// output.
void FindAliases(TileProgram* program);

}  // namespace ostria::cpu
