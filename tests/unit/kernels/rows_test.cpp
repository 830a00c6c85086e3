// SPDX-License-Identifier: Apache-2.0
#include "kernels/rows/segments.h"

#include <gtest/gtest.h>

#include <vector>

#include "kernels/host/shim.h"
#include "kernels/rows/gather.h"

namespace ostria::kernels {
namespace {

// Longer than a block scans at once; a key whose rows go on in the next tile.
TEST(RowKernels, FindWhereRowsBegin) {
  for (const int64_t n : {int64_t{1}, int64_t{71}, int64_t{kScanThreads} + 5, int64_t{2500}}) {
    std::vector<uint32_t> keys(static_cast<size_t>(2 * n));
    for (int64_t i = 0; i < n; ++i) {
      keys[static_cast<size_t>(i)] = static_cast<uint32_t>(i / 3 * 2);
      keys[static_cast<size_t>(n + i)] = 7;
    }
    for (const uint64_t seed : {1, 2}) {
      std::vector<int32_t> starts(static_cast<size_t>(2 * (n + 2)), -1);
      std::vector<int32_t> rows(static_cast<size_t>(2 * (n + 1)), -1);
      RowStartsParams p;
      p.keys = keys.data();
      p.starts = starts.data();
      p.rows = rows.data();
      p.n = n;
      p.dst[0] = n + 1;  // the second table's come first
      host::SetSeed(seed);
      host::Launch("row_starts", {2}, {kScanThreads}, 0, &p, sizeof p);
      const auto count = static_cast<int32_t>((n + 2) / 3);
      const int32_t* of_first = rows.data() + n + 1;
      ASSERT_EQ(starts[0], count);
      ASSERT_EQ(of_first[0], count);
      for (int32_t r = 0; r < count; ++r) {
        ASSERT_EQ(starts[static_cast<size_t>(1 + r)], 3 * r);
        ASSERT_EQ(of_first[1 + r], 2 * r);
      }
      ASSERT_EQ(starts[static_cast<size_t>(1 + count)], n);
      for (int64_t r = count; r < n; ++r) ASSERT_EQ(of_first[1 + r], 0);
      EXPECT_EQ(rows[0], 1);
      EXPECT_EQ(rows[1], 7);
      EXPECT_EQ(starts[static_cast<size_t>(n + 2)], 1);
      EXPECT_EQ(starts[static_cast<size_t>(n + 4)], n);
    }
  }
}

// Rows of three elements go every five; an index that is too large takes the last row.
TEST(RowKernels, GatherIntoPlacesThatLieApart) {
  std::vector<float> x(4 * 3), y(6 * 5, -1.0f);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
  const int32_t ids[] = {2, -1, 0, 9, 1, -4};
  DataErrorWord word;
  GatherParams p;
  p.x = x.data();
  p.indices = ids;
  p.y = y.data();
  p.data_error = &word;
  p.step = 5;
  p.rows = p.count = 6;
  p.row = 12;
  p.stride = 20;
  p.law = {4, 0, 1};
  p.lanes = 1;
  host::Launch("gather_4", {1}, {64}, 0, &p, sizeof p);
  const int rows[] = {2, 3, 0, 3, 1, 0};
  for (int i = 0; i < 6; ++i) {
    for (int c = 0; c < 5; ++c) {
      const float want = c < 3 ? static_cast<float>(3 * rows[i] + c) : -1.0f;
      EXPECT_EQ(y[static_cast<size_t>(5 * i + c)], want);
    }
  }
  EXPECT_EQ(word.step, 5);
  EXPECT_EQ(word.value, 9);
  EXPECT_EQ(word.low, -4);
  EXPECT_EQ(word.high, 4);
}

}  // namespace
}  // namespace ostria::kernels
