// SPDX-License-Identifier: Apache-2.0
// Runs a body under every instruction set this machine has, and under given thread counts.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "backend/cpu/simd/cpu_isa.h"
#include "base/parallel.h"

namespace ostria {

template <class Fn>
void ForEachIsa(Fn fn) {
  const Isa before = CurrentIsa();
  for (int i = 0; i <= static_cast<int>(BestIsa()); ++i) {
    SetIsa(static_cast<Isa>(i));
    SCOPED_TRACE(std::string(Name(CurrentIsa())));
    fn();
  }
  SetIsa(before);
}

template <class Fn>
void WithThreads(int n, Fn fn) {
  const int before = NumThreads();
  SetNumThreads(n);
  fn();
  SetNumThreads(before);
}

/// Distance from the exact value `want` in units of `got`'s type's last place at `want`.
template <class T>
double UlpError(T got, double want) {
  if (std::isnan(want)) return std::isnan(got) ? 0 : std::numeric_limits<double>::infinity();
  const T rounded = static_cast<T>(want);
  if (got == rounded) return 0;
  if (std::isinf(static_cast<double>(rounded)) || std::isinf(static_cast<double>(got)) ||
      std::isnan(got)) {
    return std::numeric_limits<double>::infinity();
  }
  int exponent;
  std::frexp(std::max(std::abs(want), static_cast<double>(std::numeric_limits<T>::min())),
             &exponent);
  const double ulp = std::ldexp(1.0, exponent - std::numeric_limits<T>::digits);
  return std::abs(static_cast<double>(got) - want) / ulp;
}

/// Repeatable numbers in [low, high).
inline std::vector<float> Numbers(int64_t n, float low = -1, float high = 1, uint32_t seed = 1) {
  std::vector<float> out(n);
  uint64_t state = seed * 0x9E3779B97F4A7C15ull + 1;
  for (float& v : out) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    v = low + (high - low) * static_cast<float>(state >> 40) * 0x1p-24f;
  }
  return out;
}

/// True when the bytes agree; NaN equals the same NaN.
template <class T>
bool SameBits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

}  // namespace ostria
