// SPDX-License-Identifier: Apache-2.0
// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): random words
// as a function of (seed, stream, step, element), so any split of the elements draws the same
// numbers. Layout: key = seed ^ mix(stream), 64 bits; counter words = {block low, block high, step
// low, step high}; 32-bit element i is word i % 4 of block i / 4, 64-bit element i words 2(i % 2)
// and the next of block i / 2 (first word high).
#pragma once

#include <cstdint>

#include "kernels/scalar/primitives.h"

namespace ostria::kernels {
inline namespace OSTRIA_ISA_NS {

OSTRIA_FN void MulHiLo(uint32_t a, uint32_t b, uint32_t* high, uint32_t* low) {
  const uint64_t product = static_cast<uint64_t>(a) * b;
  *high = static_cast<uint32_t>(product >> 32);
  *low = static_cast<uint32_t>(product);
}

/// Steele, Lea and Flood's SplitMix64 finaliser: streams with neighbouring numbers get unrelated
/// keys.
OSTRIA_FN uint64_t MixStream(uint64_t stream) {
  uint64_t z = stream + 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

/// As many words lie below it as a share `p` of all: word / 2^32 < p, and p = 1 is always true.
OSTRIA_FN uint64_t WordLimit(double p) {
  return static_cast<uint64_t>((p < 0 ? 0 : p > 1 ? 1 : p) * 0x1p32 + 0.5);
}

/// Ten rounds on counter `c` in place; U is uint32_t or a pack of them, one counter per lane.
template <class U>
OSTRIA_FN void Philox(U c[4], uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    U high0, low0, high1, low1;
    MulHiLo(c[0], 0xD2511F53u, &high0, &low0);
    MulHiLo(c[2], 0xCD9E8D57u, &high1, &low1);
    const U c1 = c[1], c3 = c[3];
    c[0] = high1 ^ c1 ^ U(key0);
    c[1] = low1;
    c[2] = high0 ^ c3 ^ U(key1);
    c[3] = low0;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
}

}  // namespace OSTRIA_ISA_NS
}  // namespace ostria::kernels
