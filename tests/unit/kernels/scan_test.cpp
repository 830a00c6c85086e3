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

}  // namespace
}  // namespace ostria::kernels
