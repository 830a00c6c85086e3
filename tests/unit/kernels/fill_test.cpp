// SPDX-License-Identifier: Apache-2.0
#include "kernels/fill/fill.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "kernels/host/shim.h"

namespace ostria::kernels {
namespace {

// Every start within a vector and every length around one: exactly the range is written.
TEST(FillKernel, WritesTheRangeAndNothingElse) {
  for (const int size : {1, 2, 4, 8}) {
    for (int begin = 0; begin < 17; ++begin) {
      for (const int64_t n : {1, 2, 15, 16, 17, 71 * 229}) {
        std::vector<unsigned char> memory(static_cast<size_t>((n + 40) * size) + 16, 0xee);
        auto* base = memory.data() + (16 - reinterpret_cast<uintptr_t>(memory.data()) % 16) % 16;
        const uint64_t bits = 0x8899aabbccddeeffull;
        const FillParams p{base + begin * size, n,
                           size == 8 ? bits : bits & ((1ull << (8 * size)) - 1)};
        host::Launch(("fill_" + std::to_string(size)).c_str(), {3}, {64}, 0, &p, sizeof p);
        for (int64_t i = -1; i <= n; ++i) {
          if (begin + i < 0) continue;
          const bool inside = i >= 0 && i < n;
          uint64_t got = 0, want = 0;
          std::memcpy(&got, base + (begin + i) * size, static_cast<size_t>(size));
          std::memset(&want, 0xee, static_cast<size_t>(size));
          if (inside) std::memcpy(&want, &bits, static_cast<size_t>(size));
          ASSERT_EQ(got, want) << "size " << size << " begin " << begin << " n " << n << " at "
                               << i;
        }
      }
    }
  }
}

TEST(HostKernels, RefuseWhatTheyWereNotMadeFor) {
  const FillParams p;
  EXPECT_THROW(host::Launch("no_such_kernel", {1}, {32}, 0, &p, sizeof p), std::logic_error);
  EXPECT_THROW(host::Launch("fill_4", {1}, {32}, 0, &p, sizeof p - 1), std::logic_error);
  EXPECT_THROW(host::Launch("fill_4", {1}, {512}, 0, &p, sizeof p), std::logic_error);
}

TEST(HostKernels, NameAThreadThatWaitsForEver) {
  const auto body = [](const void*) {
    if (threadIdx.x == 0) __syncwarp(3u);
  };
  EXPECT_THROW(host::LaunchBody(body, {1}, {1 + 1}, 0, nullptr), std::logic_error);
}

struct SumParams {
  const float* src;
  float* dst;
};

// Barriers, exchanges and shared memory together: a sum over a block.
void BlockSum(const void* params) {
  const auto& p = *static_cast<const SumParams*>(params);
  static float parts[32];
  float x = p.src[blockIdx.x * blockDim.x + threadIdx.x];
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(~0u, x, lanes);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
  __syncthreads();
  if (threadIdx.x < 32) {
    x = threadIdx.x < blockDim.x / 32 ? parts[threadIdx.x] : 0.0f;
    for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(~0u, x, lanes);
    if (threadIdx.x == 0) p.dst[blockIdx.x] = x;
  }
  __syncthreads();
}

TEST(HostKernels, ThreadsOfABlockWorkTogether) {
  std::vector<float> src(5 * 256), dst(5);
  for (size_t i = 0; i < src.size(); ++i) src[i] = static_cast<float>(i % 97);
  for (uint64_t seed = 0; seed < 20; ++seed) {
    host::SetSeed(seed);
    const SumParams p{src.data(), dst.data()};
    host::LaunchBody(BlockSum, {5}, {256}, 0, &p);
    for (size_t b = 0; b < dst.size(); ++b) {
      float want = 0;
      for (size_t i = 0; i < 256; ++i) want += src[b * 256 + i];
      EXPECT_EQ(dst[b], want);
    }
  }
}

}  // namespace
}  // namespace ostria::kernels
