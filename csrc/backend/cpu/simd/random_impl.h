// SPDX-License-Identifier: Apache-2.0
// The generator and the float distributions, once per instruction set, with the same bits in each.
#pragma once

#include "backend/cpu/simd/dense_table.h"
#include "backend/cpu/simd/pack.h"
#include "kernels/scalar/distributions.h"

namespace ostria::simd {
inline namespace OSTRIA_ISA_NS {

#if OSTRIA_SIMD_ISA == 0
using VecU32 = uint32_t;
OSTRIA_FN uint32_t LoadU32(const uint32_t* p) { return *p; }
OSTRIA_FN bool AtMost(uint32_t a, uint32_t last) { return a <= last; }
OSTRIA_FN void StoreInterleaved(uint32_t* p, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  p[0] = a;
  p[1] = b;
  p[2] = c;
  p[3] = d;
}
#else
using VecU32 = PackU32;
#endif

inline void PhiloxBits(const uint32_t key[2], uint64_t step, uint64_t first, int64_t blocks,
                       uint32_t* out) {
  constexpr int kLanes = kLanesOf<VecF32>;
  while (blocks > 0) {
    alignas(64) uint32_t low[kLanes], high[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      low[i] = static_cast<uint32_t>(first + i);
      high[i] = static_cast<uint32_t>((first + i) >> 32);
    }
    VecU32 c[4] = {LoadU32(low), LoadU32(high), VecU32(static_cast<uint32_t>(step)),
                   VecU32(static_cast<uint32_t>(step >> 32))};
    kernels::Philox(c, key[0], key[1]);
    if (blocks >= kLanes) {
      StoreInterleaved(out, c[0], c[1], c[2], c[3]);
    } else {
      alignas(64) uint32_t rest[4 * kLanes];
      StoreInterleaved(rest, c[0], c[1], c[2], c[3]);
      __builtin_memcpy(out, rest, blocks * 16);
    }
    blocks -= kLanes;
    first += kLanes;
    out += 4 * kLanes;
  }
}

enum class Distribution { kUniform, kNormal, kTruncated };

template <Distribution kind>
void FromBits(const uint32_t* bits, float* out, int64_t n, float a, float b) {
  constexpr int kLanes = kLanesOf<VecF32>;
  for (int64_t i = 0; i < n; i += kLanes) {
    alignas(64) uint32_t tail[kLanes] = {};
    const uint32_t* src = bits + i;
    if (n - i < kLanes) {
      __builtin_memcpy(tail, src, (n - i) * 4);
      src = tail;
    }
    const VecU32 u = LoadU32(src);
    VecF32 v;
    if constexpr (kind == Distribution::kUniform) {
      // Rounding may reach the open end; such a draw becomes the closed one.
      v = kernels::MulThenAdd(kernels::UniformFromBits<VecF32>(u), VecF32(b - a), VecF32(a));
      v = Select(v < VecF32(b), v, VecF32(a));
    } else if constexpr (kind == Distribution::kNormal) {
      v = kernels::MulThenAdd(kernels::NormalFromBits<VecF32>(u), VecF32(b), VecF32(a));
    } else {
      v = kernels::MulThenAdd(kernels::TruncatedNormalFromBits<VecF32>(u), VecF32(b), VecF32(a));
    }
    StoreVec(out + i, n - i, v);
  }
}

inline void AtMostMask(const uint32_t* bits, bool* out, int64_t n, uint32_t last) {
  constexpr int kLanes = kLanesOf<VecF32>;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(out + i, AtMost(LoadU32(bits + i), last));
  for (; i < n; ++i) out[i] = bits[i] <= last;
}

inline void DropoutRange(const uint32_t* bits, const float* x, float* y, int64_t n, uint32_t last,
                         float scale) {
  constexpr int kLanes = kLanesOf<VecF32>;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const VecF32 kept = LoadVec<VecF32>(x + i) * VecF32(scale);
    Store(y + i, Select(AtMost(LoadU32(bits + i), last), kept, VecF32(0.0f)));
  }
  for (; i < n; ++i) y[i] = bits[i] <= last ? x[i] * scale : 0.0f;
}

constexpr RandomKernels MakeRandomKernels() {
  return {.bits = &PhiloxBits,
          .uniform = &FromBits<Distribution::kUniform>,
          .normal = &FromBits<Distribution::kNormal>,
          .at_most = &AtMostMask,
          .dropout = &DropoutRange,
          .truncated_normal = &FromBits<Distribution::kTruncated>};
}

}  // namespace OSTRIA_ISA_NS
}  // namespace ostria::simd
