// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/host/shim.h"
#include "kernels/optim/lists.h"
#include "kernels/optim/update.h"

namespace ostria::kernels {
namespace {

constexpr int kGuard = 40;

/// Weights, gradients and two slots, `n` of each between numbers that nobody may touch.
struct Memory {
  std::vector<float> all[4];
  explicit Memory(int64_t n) {
    for (int k = 0; k < 4; ++k) {
      all[k].resize(static_cast<size_t>(n) + 2 * kGuard);
      for (size_t i = 0; i < all[k].size(); ++i) {
        all[k][i] = static_cast<float>((i * 37 + static_cast<size_t>(k) * 11) % 101 + 1) / 101.0f;
      }
    }
  }
  float* At(int k, int skew) { return all[k].data() + kGuard + skew; }
};

struct Scalars {
  float lr = 0.01f, grad_scale = 0.5f;
  int64_t step = 3;
  bool commit = true;
  UpdateScalars Get() const {
    UpdateScalars s;
    s.lr = &lr;
    s.step = &step;
    s.grad_scale = &grad_scale;
    s.commit = &commit;
    s.attrs[0] = 0.9, s.attrs[1] = 0.999, s.attrs[2] = 1e-7;
    return s;
  }
};

float AdamWeight(float w, float g, float m, float v) {
  const double d = 0.5 * g, m1 = m + (d - m) * 0.1, v1 = v + (d * d - v) * 0.001;
  const double alpha = 0.01 * std::sqrt(1 - std::pow(0.999, 3)) / (1 - std::pow(0.9, 3));
  return static_cast<float>(w - alpha * m1 / (std::sqrt(v1) + 1e-7));
}

// Ranges around a vector and around a tile, from every start, operands skewed alike and not: the
// formula, the same bits whatever the order of threads, and nothing outside.
TEST(UpdateKernel, MovesItsRangeAndNothingElse) {
  const Scalars scalars;
  for (const int64_t n :
       {int64_t{1}, int64_t{3}, kUpdateTile - 1, kUpdateTile, 3 * kUpdateTile + 5}) {
    for (const auto& [skew, of_g] : {std::pair{0, 0}, {1, 1}, {3, 3}, {0, 1}}) {
      std::vector<float> first;
      for (const uint64_t seed : {1, 2}) {
        Memory memory(n);
        const Memory before = memory;
        UpdateParams p;
        p.scalars = scalars.Get();
        p.count = 2;
        p.segments[0] = {memory.At(0, skew),
                         memory.At(1, of_g),
                         {memory.At(2, skew), memory.At(3, skew)},
                         n - 1,
                         0};
        p.tiles = (n - 1 + kUpdateTile - 1) / kUpdateTile;
        p.segments[1] = {memory.At(0, skew) + n - 1,
                         memory.At(1, of_g) + n - 1,
                         {memory.At(2, skew) + n - 1, memory.At(3, skew) + n - 1},
                         1,
                         p.tiles};
        p.tiles += 1;
        host::SetSeed(seed);
        host::Launch("adam_update_f32", {2}, {64}, 0, &p, sizeof p);
        for (int64_t i = 0; i < static_cast<int64_t>(memory.all[0].size()); ++i) {
          const int64_t at = i - kGuard - skew;
          const bool inside = at >= 0 && at < n;
          const auto k = static_cast<size_t>(i);
          const float w = before.all[0][k];
          if (inside) {
            const float g = before.all[1][static_cast<size_t>(kGuard + of_g + at)];
            ASSERT_NEAR(memory.all[0][k], AdamWeight(w, g, before.all[2][k], before.all[3][k]),
                        1e-6);
          } else {
            ASSERT_EQ(memory.all[0][k], w) << i;
            ASSERT_EQ(memory.all[2][k], before.all[2][k]) << i;
            ASSERT_EQ(memory.all[3][k], before.all[3][k]) << i;
          }
        }
        if (first.empty()) first = memory.all[0];
        EXPECT_EQ(std::memcmp(first.data(), memory.all[0].data(), 4 * first.size()), 0);
      }
    }
  }
}

TEST(UpdateKernel, LeavesEverythingWithoutCommit) {
  Scalars scalars;
  scalars.commit = false;
  Memory memory(100);
  const Memory before = memory;
  UpdateParams p;
  p.scalars = scalars.Get();
  p.count = 1;
  p.tiles = 1;
  p.segments[0] = {memory.At(0, 0), memory.At(1, 0), {memory.At(2, 0), memory.At(3, 0)}, 100, 0};
  host::Launch("adam_update_f32", {1}, {64}, 0, &p, sizeof p);
  for (int k = 0; k < 4; ++k) EXPECT_EQ(memory.all[k], before.all[k]);
}

// Rows 4, 0 and 2 of a table of 5, by 3 of at most 6 rows of the gradient; row 0's is zero.
TEST(UpdateKernel, MovesTheRowsThatAreNamed) {
  for (const int64_t cols : {1, 3, 40}) {
    const Scalars scalars;
    Memory memory(6 * cols);
    std::fill_n(memory.At(1, 0) + cols, cols, 0.0f);
    const Memory before = memory;
    const int32_t named[] = {3, 4, 0, 2, 1, 1, 1};
    UpdateRowsParams p;
    p.scalars = scalars.Get();
    p.lazy = 1;
    p.count = 1;
    p.groups = 6;
    p.segments[0].w = memory.At(0, 0);
    p.segments[0].g = memory.At(1, 0);
    p.segments[0].slots[0] = memory.At(2, 0);
    p.segments[0].slots[1] = memory.At(3, 0);
    p.segments[0].rows = 6;
    p.segments[0].cols = cols;
    p.segments[0].named = named;
    host::Launch("adam_update_rows_f32", {2}, {kUpdateThreads}, 0, &p, sizeof p);
    for (int64_t i = 0; i < 6 * cols; ++i) {
      const int64_t row = i / cols, from = row == 4 ? 0 : row == 2 ? 2 : -1;
      const auto k = static_cast<size_t>(kGuard + i);
      const float w = before.all[0][k];
      if (from < 0) {
        ASSERT_EQ(memory.all[0][k], w) << i;
        continue;
      }
      const float g = before.all[1][static_cast<size_t>(kGuard + from * cols + i % cols)];
      ASSERT_NEAR(memory.all[0][k], AdamWeight(w, g, before.all[2][k], before.all[3][k]), 1e-6);
    }
  }
}

TEST(ListKernel, SumsInOneOrder) {
  const int64_t n = 2 * kListTile + 77;
  std::vector<float> x(static_cast<size_t>(n) + 1);
  double want = 0;
  for (size_t i = 1; i < x.size(); ++i) {
    x[i] = 1.0f / static_cast<float>(i % 1009 + 1);
    want += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  float first = 0;
  for (const uint64_t seed : {1, 2, 3}) {
    std::vector<double> parts(3, -1);
    ListParams p;
    p.parts = parts.data();
    p.tiles = 3;
    p.count = 1;
    p.segments[0] = {x.data() + 1, n, 0};
    host::SetSeed(seed);
    host::Launch("norm_parts_f32", {2}, {kListThreads}, 0, &p, sizeof p);
    float norm = 0;
    const ListFoldParams fold{parts.data(), 3, &norm};
    host::Launch("norm_fold_f64", {1}, {kListThreads}, 0, &fold, sizeof fold);
    EXPECT_NEAR(norm, std::sqrt(want), 1e-4 * std::sqrt(want));
    if (seed == 1) first = norm;
    EXPECT_EQ(norm, first);
  }
}

}  // namespace
}  // namespace ostria::kernels
