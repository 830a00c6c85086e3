// SPDX-License-Identifier: Apache-2.0
#include "kernels/random/random.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "kernels/host/shim.h"

namespace ostria::kernels {
namespace {

// Wherever the range begins in memory and in the draw, element i is the same number, and nothing
// else is written.
TEST(RandomKernel, DoesNotDependOnWhereItWrites) {
  const struct {
    const char* name;
    size_t size;
  } kKernels[] = {{"random_normal_f16", 2}, {"random_normal_f32", 4}, {"random_normal_f64", 8},
                  {"dropout_bf16", 2},      {"dropout_f32", 4},       {"dropout_f64", 8}};
  const int64_t key[] = {11, 12}, n = 71;
  for (const auto& kernel : kKernels) {
    std::vector<unsigned char> src(static_cast<size_t>(n) * kernel.size, 0x31);
    const auto draw = [&](void* dst, const void* x, int64_t row, int64_t count) {
      RandomParams p;
      p.key = key;
      p.first_row = &row;
      p.dst = dst;
      p.src = std::strncmp(kernel.name, "dropout", 7) == 0 ? x : nullptr;
      p.elements = count;
      p.limit = uint64_t{1} << 31;
      host::Launch(kernel.name, {2}, {32}, 0, &p, sizeof p);
    };
    std::vector<unsigned char> want(src.size());
    draw(want.data(), src.data(), 0, n);
    for (size_t skew = 0; skew < 17; ++skew) {
      for (const int64_t first : {0, 1, 2, 3, 5}) {
        host::SetSeed(skew);
        const auto begin = static_cast<size_t>(first) * kernel.size;
        std::vector<unsigned char> memory(src.size() + 20 * kernel.size, 0xee);
        unsigned char* dst = memory.data() + skew * kernel.size;
        draw(dst, src.data() + begin, first, n - first);
        const size_t bytes = want.size() - begin;
        EXPECT_EQ(std::memcmp(dst, want.data() + begin, bytes), 0) << kernel.name;
        for (unsigned char* at = memory.data(); at < memory.data() + memory.size(); ++at) {
          if (at >= dst && at < dst + bytes) continue;
          ASSERT_EQ(*at, 0xee) << kernel.name;
        }
      }
    }
  }
}

TEST(PermutationKernel, IsTheSameInEveryOrderOfThreads) {
  const int64_t key[] = {5, 6};
  std::vector<std::vector<int64_t>> results;
  for (const uint64_t seed : {1, 2, 3}) {
    host::SetSeed(seed);
    std::vector<int64_t> dst(1001);
    std::vector<int32_t> owners(dst.size());
    const PermutationParams p{key, dst.data(), owners.data(), 1001, 99};
    host::Launch("random_permutation", {1}, {kPermutationThreads}, 0, &p, sizeof p);
    results.push_back(dst);
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

}  // namespace
}  // namespace ostria::kernels
