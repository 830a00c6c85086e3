// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/simd/random.h"

#include <algorithm>

#include "isa_test_util.h"
#include "kernels/scalar/distributions.h"

namespace ostria {
namespace {

struct Known {
  uint32_t counter[4], key[2], words[4];
};
// kat_vectors of Random123 for philox4x32, 10 rounds.
const Known kKnown[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

TEST(Random, PhiloxMatchesTheKnownAnswers) {
  for (const Known& k : kKnown) {
    uint32_t c[4] = {k.counter[0], k.counter[1], k.counter[2], k.counter[3]};
    kernels::Philox(c, k.key[0], k.key[1]);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(c[i], k.words[i]);
  }
  // Through the fills: block low and high, step low and high, and a seed that undoes the stream's
  // mix.
  ForEachIsa([] {
    for (const Known& k : kKnown) {
      const auto wide = [](uint32_t low, uint32_t high) { return uint64_t{high} << 32 | low; };
      RandomKey key;
      key.stream = 99;
      key.seed = wide(k.key[0], k.key[1]) ^ kernels::MixStream(99);
      key.step = wide(k.counter[2], k.counter[3]);
      const uint64_t block = wide(k.counter[0], k.counter[1]);
      if (block >> 62 != 0) continue;  // its element index is beyond 64 bits
      uint32_t words[4];
      FillRandomBits(key, block * 4, words, 4);
      for (int i = 0; i < 4; ++i) EXPECT_EQ(words[i], k.words[i]);
    }
  });
}

template <class T, class Fill>
void CheckPureFunction(Fill fill) {
  constexpr int64_t kCount = 40009;
  std::vector<T> whole(kCount);
  const Isa before = CurrentIsa();
  SetIsa(Isa::kBaseline);
  WithThreads(1, [&] { fill(uint64_t{5}, whole.data(), kCount); });
  SetIsa(before);
  ForEachIsa([&] {
    std::vector<T> again(kCount);
    WithThreads(2, [&] { fill(uint64_t{5}, again.data(), kCount); });
    EXPECT_TRUE(SameBits(whole, again));
    for (int64_t at : {1, 2, 3, 1022, 4097, 31111}) {
      std::vector<T> part(77);
      fill(uint64_t{5} + at, part.data(), 77);
      EXPECT_EQ(std::memcmp(part.data(), whole.data() + at, 77 * sizeof(T)), 0) << at;
    }
  });
}

const RandomKey kKey = {42, 7, 3};

TEST(Random, AnElementDependsOnItsIndexOnly) {
  CheckPureFunction<uint32_t>(
      [](uint64_t f, uint32_t* o, int64_t n) { FillRandomBits(kKey, f, o, n); });
  CheckPureFunction<float>(
      [](uint64_t f, float* o, int64_t n) { FillUniform(kKey, f, o, n, -2, 5); });
  CheckPureFunction<float>(
      [](uint64_t f, float* o, int64_t n) { FillNormal(kKey, f, o, n, 1, 3); });
  CheckPureFunction<float>(
      [](uint64_t f, float* o, int64_t n) { FillTruncatedNormal(kKey, f, o, n, 0, 0.05); });
  CheckPureFunction<double>(
      [](uint64_t f, double* o, int64_t n) { FillUniform(kKey, f, o, n, 0, 1); });
  CheckPureFunction<double>(
      [](uint64_t f, double* o, int64_t n) { FillNormal(kKey, f, o, n, 0, 1); });
  CheckPureFunction<double>(
      [](uint64_t f, double* o, int64_t n) { FillTruncatedNormal(kKey, f, o, n, 0, 1); });
  CheckPureFunction<float>([](uint64_t f, float* o, int64_t n) {
    const std::vector<float> ones(n, 1);
    Dropout(kKey, f, ones.data(), o, n, 0.4);
  });
  CheckPureFunction<uint8_t>([](uint64_t f, uint8_t* o, int64_t n) {
    FillBernoulli(kKey, f, reinterpret_cast<bool*>(o), n, 0.3);
  });
}

TEST(Random, SeedStreamAndStepAllMatter) {
  const auto draw = [](RandomKey key) {
    uint32_t word;
    FillRandomBits(key, 0, &word, 1);
    return word;
  };
  const std::vector<uint32_t> words = {draw({1, 1, 1}), draw({2, 1, 1}), draw({1, 2, 1}),
                                       draw({1, 1, 2}), draw({1, 1, uint64_t{1} << 32 | 1})};
  for (size_t i = 0; i < words.size(); ++i) {
    for (size_t j = 0; j < i; ++j) EXPECT_NE(words[i], words[j]);
  }
}

double Phi(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

// Kolmogorov-Smirnov distance from the distribution function; 1.95 / sqrt(n) is passed by chance
// once in a thousand, and the draws are fixed.
template <class T, class Cdf>
double KsDistance(std::vector<T> x, Cdf cdf) {
  std::sort(x.begin(), x.end());
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double f = cdf(static_cast<double>(x[i])), n = static_cast<double>(x.size());
    worst = std::max({worst, f - i / n, (i + 1) / n - f});
  }
  return worst * std::sqrt(static_cast<double>(x.size()));
}

template <class T>
void CheckDistributions() {
  constexpr int64_t kCount = 200000;
  std::vector<T> x(kCount);
  FillUniform(kKey, 0, x.data(), kCount, -1, 3);
  EXPECT_LT(KsDistance(x, [](double v) { return (v + 1) / 4; }), 1.95);
  EXPECT_GE(*std::min_element(x.begin(), x.end()), -1);
  EXPECT_LT(*std::max_element(x.begin(), x.end()), 3);
  FillNormal(kKey, 0, x.data(), kCount, 2, 0.5);
  EXPECT_LT(KsDistance(x, [](double v) { return Phi((v - 2) / 0.5); }), 1.95);
  EXPECT_GT(*std::max_element(x.begin(), x.end()), 2 + 0.5 * 3.9);
  FillTruncatedNormal(kKey, 0, x.data(), kCount, 0, 1);
  const double low = Phi(-2);
  EXPECT_LT(KsDistance(x, [&](double v) { return (Phi(v) - low) / (1 - 2 * low); }), 1.95);
  EXPECT_LE(*std::max_element(x.begin(), x.end()), 2);
  EXPECT_GE(*std::min_element(x.begin(), x.end()), -2);
}

TEST(Random, DistributionsFit) {
  CheckDistributions<float>();
  CheckDistributions<double>();
}

TEST(Random, InverseNormalIsAccurate) {
  for (double p = 1.2e-10; p < 0.5; p *= 1.01) {
    const double z = kernels::NormalFromTail(p);
    EXPECT_NEAR(0.5 * std::erfc(z / std::sqrt(2.0)) / p, 1, 1e-13);
    const double relative = p < 3e-8 ? 4e-4 : 3e-6;  // beyond 5.4 the float polynomial extrapolates
    EXPECT_NEAR(kernels::NormalFromTail(static_cast<float>(p)), z, relative * z + 3e-7) << p;
  }
}

TEST(Random, DropoutIsTheBernoulliMaskScaled) {
  const std::vector<float> x = Numbers(20001, 1, 2);
  std::vector<float> y(x.size());
  std::vector<uint8_t> mask(x.size());
  Dropout(kKey, 12, x.data(), y.data(), x.size(), 0.25);
  FillBernoulli(kKey, 12, reinterpret_cast<bool*>(mask.data()), mask.size(), 0.75);
  int64_t kept = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    kept += mask[i];
    ASSERT_EQ(y[i], mask[i] ? x[i] * static_cast<float>(1 / 0.75) : 0);
  }
  EXPECT_NEAR(kept / 20001.0, 0.75, 0.015);
  FillBernoulli(kKey, 0, reinterpret_cast<bool*>(mask.data()), mask.size(), 1);
  EXPECT_EQ(std::count(mask.begin(), mask.end(), 1), 20001);
  Dropout(kKey, 0, x.data(), y.data(), x.size(), 1);
  EXPECT_EQ(std::count(y.begin(), y.end(), 0.0f), 20001);
}

}  // namespace
}  // namespace ostria
