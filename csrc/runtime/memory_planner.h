// SPDX-License-Identifier: Apache-2.0
// Offsets for blocks with lifetimes: blocks that live at a common step never overlap. Knows no
// graph.
#pragma once

#include <cstdint>
#include <vector>

namespace ostria {

struct Block {
  int64_t bytes = 0;
  int32_t first = 0, last = 0;  // steps, inclusive
  int64_t offset = 0;           // result, 256-byte aligned
};

struct MemoryPlan {
  int64_t bytes = 0;        // size of the region
  int64_t lower_bound = 0;  // largest sum of (aligned) bytes alive at one step
};

/// Fills in the offsets: best fit in order of time, and for graphs of ordinary size also in order
/// of size, keeping the smaller region. O(n log n) beyond 4,096 blocks.
MemoryPlan PlanMemory(std::vector<Block>* blocks);

}  // namespace ostria
