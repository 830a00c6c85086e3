// SPDX-License-Identifier: Apache-2.0
#include "kernels/scan/scan.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "kernels/host/shim.h"

namespace ostria::kernels {
namespace {

std::vector<double> InChunks(const std::vector<double>& x, unsigned grid, uint64_t seed) {
  ScanChunksParams p;
  p.size = static_cast<int64_t>(x.size());
  p.chunks = (p.size + kScanChunk - 1) / kScanChunk;
  std::vector<double> carries(static_cast<size_t>(p.chunks)), y(x.size());
  p.src = x.data();
  p.dst = y.data();
  p.carries = carries.data();
  host::SetSeed(seed);
  for (const char* name :
       {"scan_chunk_sums_sum_f64", "scan_carries_sum_f64", "scan_chunks_sum_f64"}) {
    host::Launch(name, {grid}, {kScanChunkThreads}, 0, &p, sizeof p);
  }
  return y;
}

TEST(ScanKernel, SumsOfFloatsDoNotDependOnTheGrid) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> draw(-1, 1);
  std::vector<double> x(3 * static_cast<size_t>(kScanChunk) + 77);
  for (double& v : x) v = draw(random);
  const std::vector<double> want = InChunks(x, 1, 1);
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(want[i], sum += x[i], 1e-12) << i;
  for (const unsigned grid : {2u, 3u, 7u}) EXPECT_EQ(InChunks(x, grid, grid), want);
}

// y = a * y before + b, into memory of its own or into that of an operand; `inner` is 1 for lines.
std::vector<float> Linear(const char* name, int64_t inner, int in_place, int reverse) {
  ScanParams p;
  p.outer = 37;
  p.size = 71;
  p.inner = inner;
  p.reverse = reverse;
  std::mt19937 random(2);
  std::vector<float> a(static_cast<size_t>(p.outer * p.size * inner)), b(a.size()), y(a.size());
  for (float& v : a) v = static_cast<float>(random() % 200) / 100 - 1;
  for (float& v : b) v = static_cast<float>(random() % 200) / 100 - 1;
  std::vector<float>* const to[] = {&y, &a, &b};
  p.a = a.data();
  p.b = b.data();
  p.dst = to[in_place]->data();
  host::Launch(name, {3}, {kScanLineThreads}, 0, &p, sizeof p);
  return *to[in_place];
}

TEST(ScanKernel, MayWriteOverItsOperands) {
  for (const int reverse : {0, 1}) {
    for (const auto& [name, inner] : {std::pair{"scan_lines_linear_f32", int64_t{1}},
                                      std::pair{"scan_columns_linear_f32", int64_t{3}}}) {
      const std::vector<float> want = Linear(name, inner, 0, reverse);
      EXPECT_EQ(Linear(name, inner, 1, reverse), want) << name;
      EXPECT_EQ(Linear(name, inner, 2, reverse), want) << name;
    }
  }
  std::vector<double> x(2 * static_cast<size_t>(kScanChunk) + 5), carries(3);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i % 17) / 3;
  const std::vector<double> want = InChunks(x, 2, 1);
  ScanChunksParams p;
  p.src = x.data();
  p.dst = x.data();
  p.size = static_cast<int64_t>(x.size());
  p.chunks = 3;
  p.carries = carries.data();
  for (const char* name :
       {"scan_chunk_sums_sum_f64", "scan_carries_sum_f64", "scan_chunks_sum_f64"}) {
    host::Launch(name, {2}, {kScanChunkThreads}, 0, &p, sizeof p);
  }
  EXPECT_EQ(x, want);
}

}  // namespace
}  // namespace ostria::kernels
