// SPDX-License-Identifier: Apache-2.0
// AVX-512 (F, BW, DQ, VL) packs: 16 floats or 8 doubles with the primitives of
// kernels/scalar/primitives.h. Only translation units with OSTRIA_SIMD_ISA == 2 include this
// (through pack.h). Masks are mask registers.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/scalar/config.h"

namespace ostria::simd {
inline namespace OSTRIA_ISA_NS {

struct Mask32 {
  __mmask16 v;
};
struct Mask64 {
  __mmask8 v;
};

struct PackF32 {
  using Scalar = float;
  using Mask = Mask32;
  static constexpr int kLanes = 16;
  __m512 v;
  PackF32() = default;
  OSTRIA_FN PackF32(__m512 raw) : v(raw) {}  // NOLINT: the raw register is the pack
  OSTRIA_FN explicit PackF32(float s) : v(_mm512_set1_ps(s)) {}
};

struct PackF64 {
  using Scalar = double;
  using Mask = Mask64;
  static constexpr int kLanes = 8;
  __m512d v;
  PackF64() = default;
  OSTRIA_FN PackF64(__m512d raw) : v(raw) {}  // NOLINT
  OSTRIA_FN explicit PackF64(double s) : v(_mm512_set1_pd(s)) {}
};

inline constexpr int kRoundNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
inline constexpr int kRoundDown = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
inline constexpr int kRoundUp = _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC;

OSTRIA_FN PackF32 operator+(PackF32 a, PackF32 b) { return _mm512_add_ps(a.v, b.v); }
OSTRIA_FN PackF32 operator-(PackF32 a, PackF32 b) { return _mm512_sub_ps(a.v, b.v); }
OSTRIA_FN PackF32 operator*(PackF32 a, PackF32 b) { return _mm512_mul_ps(a.v, b.v); }
OSTRIA_FN PackF32 operator/(PackF32 a, PackF32 b) { return _mm512_div_ps(a.v, b.v); }
OSTRIA_FN PackF32 operator-(PackF32 a) { return _mm512_xor_ps(a.v, _mm512_set1_ps(-0.0f)); }
OSTRIA_FN PackF32 Fma(PackF32 a, PackF32 b, PackF32 c) { return _mm512_fmadd_ps(a.v, b.v, c.v); }
OSTRIA_FN PackF32 Sqrt(PackF32 a) { return _mm512_sqrt_ps(a.v); }
OSTRIA_FN PackF32 Min(PackF32 a, PackF32 b) { return _mm512_min_ps(a.v, b.v); }
OSTRIA_FN PackF32 Max(PackF32 a, PackF32 b) { return _mm512_max_ps(a.v, b.v); }
OSTRIA_FN PackF32 Abs(PackF32 a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a.v); }
OSTRIA_FN PackF32 CopySign(PackF32 a, PackF32 sign) {
  const __m512 bit = _mm512_set1_ps(-0.0f);
  return _mm512_or_ps(_mm512_andnot_ps(bit, a.v), _mm512_and_ps(bit, sign.v));
}
OSTRIA_FN PackF32 Floor(PackF32 a) { return _mm512_roundscale_ps(a.v, kRoundDown); }
OSTRIA_FN PackF32 Ceil(PackF32 a) { return _mm512_roundscale_ps(a.v, kRoundUp); }
OSTRIA_FN PackF32 Round(PackF32 a) { return _mm512_roundscale_ps(a.v, kRoundNearest); }
OSTRIA_FN PackF32 RoundSmall(PackF32 a) { return Round(a); }

OSTRIA_FN PackF64 operator+(PackF64 a, PackF64 b) { return _mm512_add_pd(a.v, b.v); }
OSTRIA_FN PackF64 operator-(PackF64 a, PackF64 b) { return _mm512_sub_pd(a.v, b.v); }
OSTRIA_FN PackF64 operator*(PackF64 a, PackF64 b) { return _mm512_mul_pd(a.v, b.v); }
OSTRIA_FN PackF64 operator/(PackF64 a, PackF64 b) { return _mm512_div_pd(a.v, b.v); }
OSTRIA_FN PackF64 operator-(PackF64 a) { return _mm512_xor_pd(a.v, _mm512_set1_pd(-0.0)); }
OSTRIA_FN PackF64 Fma(PackF64 a, PackF64 b, PackF64 c) { return _mm512_fmadd_pd(a.v, b.v, c.v); }
OSTRIA_FN PackF64 Sqrt(PackF64 a) { return _mm512_sqrt_pd(a.v); }
OSTRIA_FN PackF64 Min(PackF64 a, PackF64 b) { return _mm512_min_pd(a.v, b.v); }
OSTRIA_FN PackF64 Max(PackF64 a, PackF64 b) { return _mm512_max_pd(a.v, b.v); }
OSTRIA_FN PackF64 Abs(PackF64 a) { return _mm512_andnot_pd(_mm512_set1_pd(-0.0), a.v); }
OSTRIA_FN PackF64 CopySign(PackF64 a, PackF64 sign) {
  const __m512d bit = _mm512_set1_pd(-0.0);
  return _mm512_or_pd(_mm512_andnot_pd(bit, a.v), _mm512_and_pd(bit, sign.v));
}
OSTRIA_FN PackF64 Floor(PackF64 a) { return _mm512_roundscale_pd(a.v, kRoundDown); }
OSTRIA_FN PackF64 Ceil(PackF64 a) { return _mm512_roundscale_pd(a.v, kRoundUp); }
OSTRIA_FN PackF64 Round(PackF64 a) { return _mm512_roundscale_pd(a.v, kRoundNearest); }
OSTRIA_FN PackF64 RoundSmall(PackF64 a) { return Round(a); }

// != is true of NaN, the others false, as in C.
OSTRIA_FN Mask32 operator<(PackF32 a, PackF32 b) {
  return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)};
}
OSTRIA_FN Mask32 operator<=(PackF32 a, PackF32 b) {
  return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)};
}
OSTRIA_FN Mask32 operator>(PackF32 a, PackF32 b) {
  return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ)};
}
OSTRIA_FN Mask32 operator>=(PackF32 a, PackF32 b) {
  return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ)};
}
OSTRIA_FN Mask32 operator==(PackF32 a, PackF32 b) {
  return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)};
}
OSTRIA_FN Mask32 operator!=(PackF32 a, PackF32 b) {
  return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_NEQ_UQ)};
}
OSTRIA_FN Mask64 operator<(PackF64 a, PackF64 b) {
  return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_LT_OQ)};
}
OSTRIA_FN Mask64 operator<=(PackF64 a, PackF64 b) {
  return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_LE_OQ)};
}
OSTRIA_FN Mask64 operator>(PackF64 a, PackF64 b) {
  return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_GT_OQ)};
}
OSTRIA_FN Mask64 operator>=(PackF64 a, PackF64 b) {
  return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_GE_OQ)};
}
OSTRIA_FN Mask64 operator==(PackF64 a, PackF64 b) {
  return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_EQ_OQ)};
}
OSTRIA_FN Mask64 operator!=(PackF64 a, PackF64 b) {
  return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_NEQ_UQ)};
}
template <class M>
requires(sizeof(M) <= 2 && requires(M m) { m.v; }) OSTRIA_FN M operator&(M a, M b) {
  return {static_cast<decltype(a.v)>(a.v & b.v)};
}
template <class M>
requires(sizeof(M) <= 2 && requires(M m) { m.v; }) OSTRIA_FN M operator|(M a, M b) {
  return {static_cast<decltype(a.v)>(a.v | b.v)};
}
template <class M>
requires(sizeof(M) <= 2 && requires(M m) { m.v; }) OSTRIA_FN M operator^(M a, M b) {
  return {static_cast<decltype(a.v)>(a.v ^ b.v)};
}
OSTRIA_FN PackF32 Select(Mask32 m, PackF32 a, PackF32 b) {
  return _mm512_mask_blend_ps(m.v, b.v, a.v);
}
OSTRIA_FN PackF64 Select(Mask64 m, PackF64 a, PackF64 b) {
  return _mm512_mask_blend_pd(m.v, b.v, a.v);
}
OSTRIA_FN bool Any(Mask32 m) { return m.v != 0; }
OSTRIA_FN bool Any(Mask64 m) { return m.v != 0; }

OSTRIA_FN float ReduceAdd(PackF32 a) { return _mm512_reduce_add_ps(a.v); }
OSTRIA_FN double ReduceAdd(PackF64 a) { return _mm512_reduce_add_pd(a.v); }
OSTRIA_FN float ReduceMax(PackF32 a) { return _mm512_reduce_max_ps(a.v); }  // for values not NaN
OSTRIA_FN double ReduceMax(PackF64 a) { return _mm512_reduce_max_pd(a.v); }

OSTRIA_FN PackF32 Ldexp(PackF32 x, PackF32 n) { return _mm512_scalef_ps(x.v, n.v); }
OSTRIA_FN PackF32 SplitExponent(PackF32 x, PackF32* e) {
  const __m512i root = _mm512_set1_epi32(0x3f3504f3);
  const __m512i i = _mm512_sub_epi32(_mm512_castps_si512(x.v), root);
  *e = _mm512_cvtepi32_ps(_mm512_srai_epi32(i, 23));
  return _mm512_castsi512_ps(
      _mm512_add_epi32(_mm512_and_si512(i, _mm512_set1_epi32(0x7fffff)), root));
}

// Memory. A partial access touches n < kLanes elements only; absent lanes load as 0.
OSTRIA_FN __mmask16 TailMask(int64_t n) { return static_cast<__mmask16>((1u << n) - 1u); }
OSTRIA_FN void FirstLanes(int64_t n, Mask32* out) { out->v = TailMask(n); }
OSTRIA_FN void FirstLanes(int64_t n, Mask64* out) { out->v = static_cast<__mmask8>(TailMask(n)); }
OSTRIA_FN void Load(const float* p, PackF32* out) { out->v = _mm512_loadu_ps(p); }
OSTRIA_FN void Load(const double* p, PackF64* out) { out->v = _mm512_loadu_pd(p); }
OSTRIA_FN void Store(float* p, PackF32 a) { _mm512_storeu_ps(p, a.v); }
OSTRIA_FN void Store(double* p, PackF64 a) { _mm512_storeu_pd(p, a.v); }
OSTRIA_FN void StoreStreaming(float* p, PackF32 a) { _mm512_stream_ps(p, a.v); }
OSTRIA_FN void StoreStreaming(double* p, PackF64 a) { _mm512_stream_pd(p, a.v); }
OSTRIA_FN void FinishStreaming() { _mm_sfence(); }
OSTRIA_FN void LoadPartial(const float* p, int64_t n, PackF32* out) {
  out->v = _mm512_maskz_loadu_ps(TailMask(n), p);
}
OSTRIA_FN void LoadPartial(const double* p, int64_t n, PackF64* out) {
  out->v = _mm512_maskz_loadu_pd(static_cast<__mmask8>(TailMask(n)), p);
}
OSTRIA_FN void StorePartial(float* p, int64_t n, PackF32 a) {
  _mm512_mask_storeu_ps(p, TailMask(n), a.v);
}
OSTRIA_FN void StorePartial(double* p, int64_t n, PackF64 a) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>(TailMask(n)), a.v);
}
OSTRIA_FN void LoadPartial(const bool* p, int64_t n, Mask32* out) {
  const __m128i bytes = _mm_maskz_loadu_epi8(TailMask(n), p);
  out->v = _mm_test_epi8_mask(bytes, bytes);
}
OSTRIA_FN void LoadPartial(const bool* p, int64_t n, Mask64* out) {
  const __m128i bytes = _mm_maskz_loadu_epi8(TailMask(n), p);
  out->v = static_cast<__mmask8>(_mm_test_epi8_mask(bytes, bytes));
}
OSTRIA_FN void Load(const bool* p, Mask32* out) { LoadPartial(p, 16, out); }
OSTRIA_FN void Load(const bool* p, Mask64* out) { LoadPartial(p, 8, out); }
OSTRIA_FN void StorePartial(bool* p, int64_t n, Mask32 m) {
  _mm_mask_storeu_epi8(p, TailMask(n), _mm_maskz_set1_epi8(m.v, 1));
}
OSTRIA_FN void StorePartial(bool* p, int64_t n, Mask64 m) {
  _mm_mask_storeu_epi8(p, TailMask(n), _mm_maskz_set1_epi8(m.v, 1));
}
OSTRIA_FN void Store(bool* p, Mask32 m) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_maskz_set1_epi8(m.v, 1));
}
OSTRIA_FN void Store(bool* p, Mask64 m) {
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_maskz_set1_epi8(m.v, 1));
}

// Half types, sixteen at a time; rounding to nearest even, NaN stays NaN.
OSTRIA_FN PackF32 LoadF16(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
OSTRIA_FN void StoreF16(uint16_t* p, PackF32 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(a.v, kRoundNearest));
}
OSTRIA_FN PackF32 LoadBf16(const uint16_t* p) {
  const __m512i wide =
      _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
OSTRIA_FN void StoreBf16(uint16_t* p, PackF32 a) {
  const __m512i u = _mm512_castps_si512(a.v), high = _mm512_srli_epi32(u, 16);
  const __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
  const __m512i round = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
  const __m512i near = _mm512_srli_epi32(_mm512_add_epi32(u, round), 16);
  const __mmask16 is_nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  const __m512i r = _mm512_mask_or_epi32(near, is_nan, high, _mm512_set1_epi32(0x40));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(r));
}

/// Sixteen unsigned integers, for the generators.
struct PackU32 {
  static constexpr int kLanes = 16;
  __m512i v;
  PackU32() = default;
  OSTRIA_FN PackU32(__m512i raw) : v(raw) {}  // NOLINT
  OSTRIA_FN explicit PackU32(uint32_t s) : v(_mm512_set1_epi32(static_cast<int>(s))) {}
};
OSTRIA_FN PackU32 operator^(PackU32 a, PackU32 b) { return _mm512_xor_si512(a.v, b.v); }
OSTRIA_FN PackU32 LoadU32(const uint32_t* p) { return _mm512_loadu_si512(p); }
template <int kShift>
OSTRIA_FN PackU32 ShiftRight(PackU32 a) {
  return _mm512_srli_epi32(a.v, kShift);
}
OSTRIA_FN PackU32 LowBits31(PackU32 a) {
  return _mm512_and_si512(a.v, _mm512_set1_epi32(0x7fffffff));
}
OSTRIA_FN Mask32 AtMost(PackU32 a, uint32_t last) {
  return {_mm512_cmple_epu32_mask(a.v, _mm512_set1_epi32(static_cast<int>(last)))};
}
OSTRIA_FN PackF32 FromSmallInt(PackU32 a) { return _mm512_cvtepi32_ps(a.v); }  // below 2^31
OSTRIA_FN PackF32 AsSignOf(PackU32 a) {  // -0.0 where the top bit is set, else +0.0
  return _mm512_and_ps(_mm512_castsi512_ps(a.v), _mm512_set1_ps(-0.0f));
}
OSTRIA_FN void MulHiLo(PackU32 a, uint32_t b, PackU32* high, PackU32* low) {
  const __m512i m = _mm512_set1_epi32(static_cast<int>(b));
  const __m512i even = _mm512_mul_epu32(a.v, m);
  const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(a.v, 32), m);
  *high = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
  *low = _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
}
/// Writes a[0] b[0] c[0] d[0] a[1] ...
OSTRIA_FN void StoreInterleaved(uint32_t* p, PackU32 a, PackU32 b, PackU32 c, PackU32 d) {
  const __m512i ab0 = _mm512_unpacklo_epi32(a.v, b.v), ab1 = _mm512_unpackhi_epi32(a.v, b.v);
  const __m512i cd0 = _mm512_unpacklo_epi32(c.v, d.v), cd1 = _mm512_unpackhi_epi32(c.v, d.v);
  // q_j holds, in its four 128-bit lanes, the quads j, j + 4, j + 8 and j + 12: transpose the
  // lanes.
  const __m512i q0 = _mm512_unpacklo_epi64(ab0, cd0), q1 = _mm512_unpackhi_epi64(ab0, cd0);
  const __m512i q2 = _mm512_unpacklo_epi64(ab1, cd1), q3 = _mm512_unpackhi_epi64(ab1, cd1);
  const __m512i r0 = _mm512_shuffle_i32x4(q0, q1, 0x88), r1 = _mm512_shuffle_i32x4(q2, q3, 0x88);
  const __m512i r2 = _mm512_shuffle_i32x4(q0, q1, 0xdd), r3 = _mm512_shuffle_i32x4(q2, q3, 0xdd);
  _mm512_storeu_si512(p, _mm512_shuffle_i32x4(r0, r1, 0x88));
  _mm512_storeu_si512(p + 16, _mm512_shuffle_i32x4(r2, r3, 0x88));
  _mm512_storeu_si512(p + 32, _mm512_shuffle_i32x4(r0, r1, 0xdd));
  _mm512_storeu_si512(p + 48, _mm512_shuffle_i32x4(r2, r3, 0xdd));
}

}  // namespace OSTRIA_ISA_NS
}  // namespace ostria::simd
