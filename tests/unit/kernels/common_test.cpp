// SPDX-License-Identifier: Apache-2.0
// What kernels share: conversions, vectors and reductions over blocks.
#define OSTRIA_HOST_KERNELS
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "core/dtype.h"
#include "kernels/common/block_reduce.h"
#include "kernels/common/vec.h"

namespace ostria::kernels {
namespace {

unsigned BitsOf(float x) { return std::bit_cast<unsigned>(x); }

TEST(KernelDTypes, EveryHalfNumberIsTheCpus) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const auto b = static_cast<uint16_t>(bits);
    ostria::Float16 half;
    half.bits = b;
    const float wide = Widen(Float16{b}), want = static_cast<float>(half);
    if (want != want) {
      EXPECT_EQ(BitsOf(wide), 0x7fffffffu);
      EXPECT_EQ(Narrow<Float16>(wide).bits, 0x7fff);
    } else {
      ASSERT_EQ(BitsOf(wide), BitsOf(want)) << bits;
      ASSERT_EQ(Narrow<Float16>(wide).bits, b);
    }
    const float from_brain = Widen(BFloat16{b});
    ASSERT_EQ(BitsOf(from_brain), bits << 16);
    ASSERT_EQ(Narrow<BFloat16>(from_brain).bits, from_brain != from_brain ? 0x7fff : b);
  }
}

// Every float whose low bits are among those that decide a tie.
TEST(KernelDTypes, RoundAsTheCpuDoes) {
  for (unsigned high = 0; high < 65536; ++high) {
    for (const unsigned low : {0x0000u, 0x0001u, 0x0fffu, 0x1000u, 0x1001u, 0x2fffu, 0x3000u,
                               0x7fffu, 0x8000u, 0x8001u, 0xf000u, 0xffffu}) {
      const float x = std::bit_cast<float>(high << 16 | low);
      if (x != x) continue;
      ASSERT_EQ(Narrow<Float16>(x).bits, ostria::Float16(x).bits) << x;
      ASSERT_EQ(Narrow<BFloat16>(x).bits, ostria::BFloat16(x).bits) << x;
    }
  }
}

template <class T>
void CopyEach(int64_t n, int64_t skew_src, int64_t skew_dst) {
  alignas(16) T memory_src[80], memory_dst[80];
  T *src = memory_src + skew_src, *dst = memory_dst + skew_dst;
  for (int i = 0; i < 80; ++i) {
    memory_src[i] = Narrow<T>(static_cast<Compute<T>>(i + 1));
    memory_dst[i] = Narrow<T>(0);
  }
  const VectorSplit split = SplitVectors(n, src, dst);
  if (skew_src == skew_dst) {
    EXPECT_EQ(split.vectors, n < split.head ? 0 : (n - split.head) / kVector<T>);
  }
  std::vector<int> visits(static_cast<size_t>(n));
  for (int thread = 0; thread < 3; ++thread) {
    ForVectors<T>(split, thread, 3, [&]<int kCount>(int64_t i, Count<kCount>) {
      Compute<T> x[kCount];
      LoadVector(src + i, x);
      StoreVector(dst + i, x);
      for (int k = 0; k < kCount; ++k) ++visits[static_cast<size_t>(i + k)];
    });
  }
  for (const int v : visits) EXPECT_EQ(v, 1);
  for (int64_t i = 0; i < 80; ++i) {
    const int64_t at = i - skew_dst;
    const bool inside = at >= 0 && at < n;
    EXPECT_EQ(Load(memory_dst + i),
              inside ? static_cast<Compute<T>>(at + skew_src + 1) : Compute<T>(0));
  }
}

TEST(KernelVectors, VisitEachElementOnceFromEveryStart) {
  for (const int64_t n : {0, 1, 3, 7, 8, 31, 64}) {
    for (int64_t a = 0; a < 8; ++a) {
      for (const int64_t b : {a, (a + 1) % 8}) {
        CopyEach<Float16>(n, a, b);
        CopyEach<BFloat16>(n, a, b);
        CopyEach<float>(n, a, b);
        CopyEach<double>(n, a, b);
      }
    }
  }
}

struct ReduceParams {
  const float* x;
  float *sums, *maxima;
};

void Reduce(const void* params) {
  const auto& p = *static_cast<const ReduceParams*>(params);
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  p.sums[i] = BlockSum(p.x[i]);
  for (int k = 0; k < 3; ++k) p.sums[i] += BlockSum(p.x[i]) - p.sums[i];  // at once again
  p.maxima[i] = BlockMax(p.x[i], -std::numeric_limits<float>::infinity());
}

TEST(KernelReductions, AreTheSameForEveryThreadAndOrder) {
  for (const unsigned threads : {32u, 96u, 256u}) {
    std::vector<float> x(3 * threads), first;
    for (size_t i = 0; i < x.size(); ++i) x[i] = 1.0f / static_cast<float>(i % 89 + 1) - 0.1f;
    for (uint64_t seed = 0; seed < 4; ++seed) {
      host::SetSeed(seed);
      std::vector<float> sums(x.size()), maxima(x.size());
      const ReduceParams p{x.data(), sums.data(), maxima.data()};
      host::LaunchBody(Reduce, {3}, {threads}, 0, &p);
      for (size_t block = 0; block < 3; ++block) {
        double want = 0;
        float largest = x[block * threads];
        for (size_t i = block * threads; i < (block + 1) * threads; ++i) {
          want += static_cast<double>(x[i]);
          largest = std::max(largest, x[i]);
        }
        for (size_t i = block * threads; i < (block + 1) * threads; ++i) {
          EXPECT_EQ(sums[i], sums[block * threads]);
          EXPECT_NEAR(sums[i], want, 1e-5);
          EXPECT_EQ(maxima[i], largest);
        }
      }
      if (first.empty()) first = sums;
      EXPECT_EQ(sums, first);
    }
  }
}

TEST(KernelReductions, MaximaKeepNan) {
  std::vector<float> x(32, 1.0f), sums(32), maxima(32);
  x[5] = std::numeric_limits<float>::quiet_NaN();
  const ReduceParams p{x.data(), sums.data(), maxima.data()};
  host::LaunchBody(Reduce, {1}, {32}, 0, &p);
  for (const float m : maxima) EXPECT_TRUE(m != m);
}

}  // namespace
}  // namespace ostria::kernels
