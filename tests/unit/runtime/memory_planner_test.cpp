// SPDX-License-Identifier: Apache-2.0
#include "runtime/memory_planner.h"

#include <gtest/gtest.h>

#include <random>

namespace ostria {
namespace {

void ExpectDisjoint(const std::vector<Block>& blocks) {
  for (size_t i = 0; i < blocks.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const Block &a = blocks[i], &b = blocks[j];
      if (a.last < b.first || b.last < a.first) continue;
      EXPECT_TRUE(a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset)
          << i << " and " << j;
    }
  }
}

TEST(MemoryPlanner, ChainNeedsTwoBlocks) {
  std::vector<Block> blocks;
  for (int i = 0; i < 100; ++i) blocks.push_back({1024, i, i + 1, 0});
  const MemoryPlan plan = PlanMemory(&blocks);
  ExpectDisjoint(blocks);
  EXPECT_EQ(plan.bytes, 2048);
  EXPECT_EQ(plan.lower_bound, 2048);
}

TEST(MemoryPlanner, ForwardThenBackwardReachesTheBound) {
  // Activation i lives from step i to its backward step: a stack.
  std::vector<Block> blocks;
  for (int i = 0; i < 50; ++i) blocks.push_back({1000 + 256 * (i % 7), i, 100 - i, 0});
  const MemoryPlan plan = PlanMemory(&blocks);
  ExpectDisjoint(blocks);
  EXPECT_EQ(plan.bytes, plan.lower_bound);
}

TEST(MemoryPlanner, RandomLifetimesStayNearTheBound) {
  std::mt19937 random(7);
  for (int round = 0; round < 20; ++round) {
    std::vector<Block> blocks;
    for (int i = 0; i < 300; ++i) {
      const int first = static_cast<int>(random() % 200);
      blocks.push_back({static_cast<int64_t>(256 * (1 + random() % 64)), first,
                        first + static_cast<int>(random() % 12), 0});
    }
    const MemoryPlan plan = PlanMemory(&blocks);
    ExpectDisjoint(blocks);
    EXPECT_LE(plan.bytes, plan.lower_bound * 12 / 10);
  }
}

TEST(MemoryPlanner, OffsetsAreAligned) {
  std::vector<Block> blocks{{10, 0, 1, 0}, {300, 0, 1, 0}, {1, 1, 2, 0}};
  PlanMemory(&blocks);
  ExpectDisjoint(blocks);
  for (const Block& b : blocks) EXPECT_EQ(b.offset % 256, 0);
}

}  // namespace
}  // namespace ostria
