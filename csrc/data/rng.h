// SPDX-License-Identifier: Apache-2.0
// Random numbers by counter: the n-th draw of a key is a function of (key, n), so the position in a
// stream is one integer. SplitMix64 (Steele, Lea, Flood 2014); its orders are golden-tested and
// must not change.
#pragma once

#include <cstdint>

namespace ostria::data {

constexpr uint64_t kGoldenGamma = 0x9e3779b97f4a7c15u;

constexpr uint64_t Mix64(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/// The n-th output (from 0) of SplitMix64 seeded with `key`.
constexpr uint64_t RandomBits(uint64_t key, uint64_t n) {
  return Mix64(key + (n + 1) * kGoldenGamma);
}

/// Key of one epoch of one iteration of a shuffle.
constexpr uint64_t EpochKey(uint64_t seed, uint64_t iteration, uint64_t epoch) {
  return RandomBits(RandomBits(RandomBits(seed, 0), iteration), epoch);
}

/// Uniform in [0, bound); the bias is below bound / 2^64.
constexpr int64_t RandomBelow(uint64_t key, uint64_t n, int64_t bound) {
  return static_cast<int64_t>((static_cast<unsigned __int128>(RandomBits(key, n)) *
                               static_cast<unsigned __int128>(bound)) >>
                              64);
}

}  // namespace ostria::data
