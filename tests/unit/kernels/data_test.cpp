// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "kernels/data/along_axis.h"
#include "kernels/data/runs.h"
#include "kernels/host/shim.h"
#include "kernels/shape/triangle.h"

namespace ostria::kernels {
namespace {

// x, indices and values of [outer, size or count, inner]; what is at an index, and where.
struct Columns {
  int64_t outer = 3, size = 11, count = 29, inner = 5;
  std::vector<float> x, values;
  std::vector<int32_t> indices;

  Columns() {
    std::mt19937 random(1);
    x.resize(static_cast<size_t>(outer * size * inner));
    values.resize(static_cast<size_t>(outer * count * inner));
    indices.resize(values.size());
    for (float& v : x) v = static_cast<float>(random() % 1000) / 7;
    for (float& v : values) v = static_cast<float>(random() % 1000) / 7;
    for (int32_t& i : indices) i = static_cast<int32_t>(random() % 22) - 11;
  }
  // Of the element that index number e counts to.
  size_t At(int64_t e) const {
    const int32_t i = indices[static_cast<size_t>(e)];
    const int64_t place = i < 0 ? i + size : i;
    return static_cast<size_t>((e / inner / count * size + place) * inner + e % inner);
  }
};

void Launch(const char* name, unsigned grid, const void* p, size_t bytes) {
  host::Launch(name, {grid}, {64}, 0, p, bytes);
}

TEST(TakeKernel, TakesWithEitherWidthOfIndices) {
  const Columns c;
  for (const int wide : {0, 1}) {
    std::vector<float> y(c.indices.size());
    TakeAlongParams p;
    p.x = c.x.data();
    p.indices = c.indices.data();
    p.dst = y.data();
    p.elements = static_cast<int64_t>(y.size());
    p.count = c.count;
    p.inner = c.inner;
    p.law.size = c.size;
    p.wide = wide;
    p.by_inner = Divisor::Of(c.inner);
    p.by_count = Divisor::Of(c.count);
    Launch("take_along_axis_4", 3, &p, sizeof p);
    for (size_t e = 0; e < y.size(); ++e) ASSERT_EQ(y[e], c.x[c.At(static_cast<int64_t>(e))]);
  }
}

TEST(TakeKernel, TakesZerosOfAnEmptyAxisAndReportsIt) {
  const int64_t index = 3;
  float y = 5;
  DataErrorWord error;
  TakeAlongParams p;
  p.indices = &index;
  p.dst = &y;
  p.data_error = &error;
  p.elements = 1;
  p.law = {0, 1, 1};
  p.by_inner = p.by_count = Divisor::Of(1);
  p.step = 4;
  Launch("take_along_axis_4", 1, &p, sizeof p);
  EXPECT_EQ(y, 0);
  EXPECT_EQ(error.step, 4);
  EXPECT_EQ(error.value, 3);
}

TEST(PutKernel, LetsTheLastValueOfAPlaceCount) {
  const Columns c;
  std::vector<float> want = c.x;
  for (size_t e = 0; e < c.values.size(); ++e) want[c.At(static_cast<int64_t>(e))] = c.values[e];
  for (const int wide : {0, 1}) {
    std::vector<float> y = c.x;
    PutAlongParams p;
    p.indices = c.indices.data();
    p.values = c.values.data();
    p.dst = y.data();
    p.outer = c.outer;
    p.count = c.count;
    p.inner = c.inner;
    p.law.size = c.size;
    p.wide = wide;
    p.by_inner = Divisor::Of(c.inner);
    Launch("put_along_update_4", 2, &p, sizeof p);
    EXPECT_EQ(y, want);
  }
}

// Floats added in an order that shows, over several blocks, whatever their number.
TEST(RunsKernel, AddsInTheOrderOfTheIndices) {
  const Columns c;
  std::vector<std::pair<uint32_t, int32_t>> sorted;
  for (int64_t i = 0; i < c.count; ++i) {
    const int32_t at = c.indices[static_cast<size_t>(i)];
    sorted.emplace_back(at < 0 ? at + c.size : at, static_cast<int32_t>(i));
  }
  std::vector<float> sums = c.x, last = c.x;
  for (int64_t o = 0; o < c.outer; ++o) {
    for (const auto& [key, i] : sorted) {
      for (int64_t k = 0; k < c.inner; ++k) {
        const auto to = static_cast<size_t>((o * c.size + key) * c.inner + k);
        last[to] = c.values[static_cast<size_t>((o * c.count + i) * c.inner + k)];
        sums[to] += last[to];
      }
    }
  }
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<uint32_t> keys;
  std::vector<int32_t> positions;
  for (const auto& [key, i] : sorted) {
    keys.push_back(key);
    positions.push_back(i);
  }
  for (const int wide : {0, 1}) {
    for (const unsigned grid : {1u, 3u}) {
      std::vector<float> y = c.x, z = c.x;
      RunsParams p;
      p.keys = keys.data();
      p.positions = positions.data();
      p.updates = c.values.data();
      p.dst = y.data();
      p.outer = c.outer;
      p.count = c.count;
      p.size = c.size;
      p.inner = c.inner;
      p.wide = wide;
      p.by_inner = Divisor::Of(c.inner);
      p.by_count = Divisor::Of(c.count);
      Launch("runs_sum_f32", grid, &p, sizeof p);
      EXPECT_EQ(y, sums);
      p.dst = z.data();
      Launch("runs_update_4", grid, &p, sizeof p);
      EXPECT_EQ(z, last);
    }
  }
}

TEST(TriangleKernel, KeepsOneSideWithEitherWidthOfIndices) {
  const int64_t rows = 17, columns = 29;
  std::vector<uint16_t> x(static_cast<size_t>(3 * rows * columns));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint16_t>(i + 1);
  for (const int wide : {0, 1}) {
    for (const int upper : {0, 1}) {
      std::vector<uint16_t> y(x.size());
      TriangleParams p;
      p.src = x.data();
      p.dst = y.data();
      p.elements = static_cast<int64_t>(x.size());
      p.rows = rows;
      p.columns = columns;
      p.diagonal = -2;
      p.upper = upper;
      p.wide = wide;
      p.by_rows = Divisor::Of(rows);
      p.by_columns = Divisor::Of(columns);
      Launch("triangle_2", 3, &p, sizeof p);
      for (size_t i = 0; i < x.size(); ++i) {
        const auto at = static_cast<int64_t>(i);
        const int64_t ahead = at % columns - at / columns % rows;
        ASSERT_EQ(y[i], (upper != 0 ? ahead >= -2 : ahead <= -2) ? x[i] : 0) << i;
      }
    }
  }
}

}  // namespace
}  // namespace ostria::kernels
