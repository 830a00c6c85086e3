// SPDX-License-Identifier: Apache-2.0
// AVX2 + FMA packs: 8 floats or 4 doubles with the primitives of kernels/scalar/primitives.h. Only
// translation units with OSTRIA_SIMD_ISA == 1 include this (through pack.h). Masks are full lanes.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/scalar/config.h"

namespace ostria::simd {
inline namespace OSTRIA_ISA_NS {

alignas(32) inline constexpr int32_t kTailMask32[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
alignas(32) inline constexpr int64_t kTailMask64[8] = {-1, -1, -1, -1};

struct Mask32 {
  __m256 v;
};
struct Mask64 {
  __m256d v;
};

struct PackF32 {
  using Scalar = float;
  using Mask = Mask32;
  static constexpr int kLanes = 8;
  __m256 v;
  PackF32() = default;
  OSTRIA_FN PackF32(__m256 raw) : v(raw) {}  // NOLINT: the raw register is the pack
  OSTRIA_FN explicit PackF32(float s) : v(_mm256_set1_ps(s)) {}
};

struct PackF64 {
  using Scalar = double;
  using Mask = Mask64;
  static constexpr int kLanes = 4;
  __m256d v;
  PackF64() = default;
  OSTRIA_FN PackF64(__m256d raw) : v(raw) {}  // NOLINT
  OSTRIA_FN explicit PackF64(double s) : v(_mm256_set1_pd(s)) {}
};

OSTRIA_FN PackF32 operator+(PackF32 a, PackF32 b) { return _mm256_add_ps(a.v, b.v); }
OSTRIA_FN PackF32 operator-(PackF32 a, PackF32 b) { return _mm256_sub_ps(a.v, b.v); }
OSTRIA_FN PackF32 operator*(PackF32 a, PackF32 b) { return _mm256_mul_ps(a.v, b.v); }
OSTRIA_FN PackF32 operator/(PackF32 a, PackF32 b) { return _mm256_div_ps(a.v, b.v); }
OSTRIA_FN PackF32 operator-(PackF32 a) { return _mm256_xor_ps(a.v, _mm256_set1_ps(-0.0f)); }
OSTRIA_FN PackF32 Fma(PackF32 a, PackF32 b, PackF32 c) { return _mm256_fmadd_ps(a.v, b.v, c.v); }
OSTRIA_FN PackF32 Sqrt(PackF32 a) { return _mm256_sqrt_ps(a.v); }
OSTRIA_FN PackF32 Min(PackF32 a, PackF32 b) { return _mm256_min_ps(a.v, b.v); }
OSTRIA_FN PackF32 Max(PackF32 a, PackF32 b) { return _mm256_max_ps(a.v, b.v); }
OSTRIA_FN PackF32 Abs(PackF32 a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v); }
OSTRIA_FN PackF32 CopySign(PackF32 a, PackF32 sign) {
  const __m256 bit = _mm256_set1_ps(-0.0f);
  return _mm256_or_ps(_mm256_andnot_ps(bit, a.v), _mm256_and_ps(bit, sign.v));
}
OSTRIA_FN PackF32 Floor(PackF32 a) { return _mm256_floor_ps(a.v); }
OSTRIA_FN PackF32 Ceil(PackF32 a) { return _mm256_ceil_ps(a.v); }
OSTRIA_FN PackF32 Round(PackF32 a) {
  return _mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
OSTRIA_FN PackF32 RoundSmall(PackF32 a) { return Round(a); }

OSTRIA_FN PackF64 operator+(PackF64 a, PackF64 b) { return _mm256_add_pd(a.v, b.v); }
OSTRIA_FN PackF64 operator-(PackF64 a, PackF64 b) { return _mm256_sub_pd(a.v, b.v); }
OSTRIA_FN PackF64 operator*(PackF64 a, PackF64 b) { return _mm256_mul_pd(a.v, b.v); }
OSTRIA_FN PackF64 operator/(PackF64 a, PackF64 b) { return _mm256_div_pd(a.v, b.v); }
OSTRIA_FN PackF64 operator-(PackF64 a) { return _mm256_xor_pd(a.v, _mm256_set1_pd(-0.0)); }
OSTRIA_FN PackF64 Fma(PackF64 a, PackF64 b, PackF64 c) { return _mm256_fmadd_pd(a.v, b.v, c.v); }
OSTRIA_FN PackF64 Sqrt(PackF64 a) { return _mm256_sqrt_pd(a.v); }
OSTRIA_FN PackF64 Min(PackF64 a, PackF64 b) { return _mm256_min_pd(a.v, b.v); }
OSTRIA_FN PackF64 Max(PackF64 a, PackF64 b) { return _mm256_max_pd(a.v, b.v); }
OSTRIA_FN PackF64 Abs(PackF64 a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a.v); }
OSTRIA_FN PackF64 CopySign(PackF64 a, PackF64 sign) {
  const __m256d bit = _mm256_set1_pd(-0.0);
  return _mm256_or_pd(_mm256_andnot_pd(bit, a.v), _mm256_and_pd(bit, sign.v));
}
OSTRIA_FN PackF64 Floor(PackF64 a) { return _mm256_floor_pd(a.v); }
OSTRIA_FN PackF64 Ceil(PackF64 a) { return _mm256_ceil_pd(a.v); }
OSTRIA_FN PackF64 Round(PackF64 a) {
  return _mm256_round_pd(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
OSTRIA_FN PackF64 RoundSmall(PackF64 a) { return Round(a); }

// != is true of NaN, the others false, as in C.
OSTRIA_FN Mask32 operator<(PackF32 a, PackF32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
OSTRIA_FN Mask32 operator<=(PackF32 a, PackF32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)}; }
OSTRIA_FN Mask32 operator>(PackF32 a, PackF32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ)}; }
OSTRIA_FN Mask32 operator>=(PackF32 a, PackF32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GE_OQ)}; }
OSTRIA_FN Mask32 operator==(PackF32 a, PackF32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
OSTRIA_FN Mask32 operator!=(PackF32 a, PackF32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_NEQ_UQ)}; }
OSTRIA_FN Mask64 operator<(PackF64 a, PackF64 b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_LT_OQ)}; }
OSTRIA_FN Mask64 operator<=(PackF64 a, PackF64 b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_LE_OQ)}; }
OSTRIA_FN Mask64 operator>(PackF64 a, PackF64 b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_GT_OQ)}; }
OSTRIA_FN Mask64 operator>=(PackF64 a, PackF64 b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_GE_OQ)}; }
OSTRIA_FN Mask64 operator==(PackF64 a, PackF64 b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_EQ_OQ)}; }
OSTRIA_FN Mask64 operator!=(PackF64 a, PackF64 b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_NEQ_UQ)}; }
OSTRIA_FN Mask32 operator&(Mask32 a, Mask32 b) { return {_mm256_and_ps(a.v, b.v)}; }
OSTRIA_FN Mask32 operator|(Mask32 a, Mask32 b) { return {_mm256_or_ps(a.v, b.v)}; }
OSTRIA_FN Mask32 operator^(Mask32 a, Mask32 b) { return {_mm256_xor_ps(a.v, b.v)}; }
OSTRIA_FN Mask64 operator&(Mask64 a, Mask64 b) { return {_mm256_and_pd(a.v, b.v)}; }
OSTRIA_FN Mask64 operator|(Mask64 a, Mask64 b) { return {_mm256_or_pd(a.v, b.v)}; }
OSTRIA_FN Mask64 operator^(Mask64 a, Mask64 b) { return {_mm256_xor_pd(a.v, b.v)}; }
OSTRIA_FN PackF32 Select(Mask32 m, PackF32 a, PackF32 b) { return _mm256_blendv_ps(b.v, a.v, m.v); }
OSTRIA_FN PackF64 Select(Mask64 m, PackF64 a, PackF64 b) { return _mm256_blendv_pd(b.v, a.v, m.v); }
OSTRIA_FN bool Any(Mask32 m) { return _mm256_movemask_ps(m.v) != 0; }
OSTRIA_FN bool Any(Mask64 m) { return _mm256_movemask_pd(m.v) != 0; }

OSTRIA_FN float ReduceAdd(PackF32 a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
OSTRIA_FN double ReduceAdd(PackF64 a) {
  const __m128d s = _mm_add_pd(_mm256_castpd256_pd128(a.v), _mm256_extractf128_pd(a.v, 1));
  return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}
OSTRIA_FN float ReduceMax(PackF32 a) {  // unordered in NaN: for values known not to be NaN
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
OSTRIA_FN double ReduceMax(PackF64 a) {
  const __m128d s = _mm_max_pd(_mm256_castpd256_pd128(a.v), _mm256_extractf128_pd(a.v, 1));
  return _mm_cvtsd_f64(_mm_max_sd(s, _mm_unpackhi_pd(s, s)));
}

OSTRIA_FN PackF32 Ldexp(PackF32 x, PackF32 n) {
  const __m256i i = _mm256_cvtps_epi32(n.v), half = _mm256_srai_epi32(i, 1);
  const __m256i bias = _mm256_set1_epi32(127);
  const __m256i a = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
  const __m256i b = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(i, half), bias), 23);
  return _mm256_mul_ps(_mm256_mul_ps(x.v, _mm256_castsi256_ps(a)), _mm256_castsi256_ps(b));
}
OSTRIA_FN PackF32 SplitExponent(PackF32 x, PackF32* e) {
  const __m256i root = _mm256_set1_epi32(0x3f3504f3);
  const __m256i i = _mm256_sub_epi32(_mm256_castps_si256(x.v), root);
  *e = _mm256_cvtepi32_ps(_mm256_srai_epi32(i, 23));
  return _mm256_castsi256_ps(
      _mm256_add_epi32(_mm256_and_si256(i, _mm256_set1_epi32(0x7fffff)), root));
}

// Memory. A partial access touches n < kLanes elements only; absent lanes load as 0.
OSTRIA_FN __m256i TailMask32(int64_t n) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kTailMask32 + 8 - n));
}
OSTRIA_FN __m256i TailMask64(int64_t n) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kTailMask64 + 4 - n));
}
OSTRIA_FN void FirstLanes(int64_t n, Mask32* out) { out->v = _mm256_castsi256_ps(TailMask32(n)); }
OSTRIA_FN void FirstLanes(int64_t n, Mask64* out) { out->v = _mm256_castsi256_pd(TailMask64(n)); }
OSTRIA_FN void Load(const float* p, PackF32* out) { out->v = _mm256_loadu_ps(p); }
OSTRIA_FN void Load(const double* p, PackF64* out) { out->v = _mm256_loadu_pd(p); }
OSTRIA_FN void Store(float* p, PackF32 a) { _mm256_storeu_ps(p, a.v); }
OSTRIA_FN void Store(double* p, PackF64 a) { _mm256_storeu_pd(p, a.v); }
OSTRIA_FN void StoreStreaming(float* p, PackF32 a) { _mm256_stream_ps(p, a.v); }
OSTRIA_FN void StoreStreaming(double* p, PackF64 a) { _mm256_stream_pd(p, a.v); }
OSTRIA_FN void FinishStreaming() { _mm_sfence(); }
OSTRIA_FN void LoadPartial(const float* p, int64_t n, PackF32* out) {
  out->v = _mm256_maskload_ps(p, TailMask32(n));
}
OSTRIA_FN void LoadPartial(const double* p, int64_t n, PackF64* out) {
  out->v = _mm256_maskload_pd(p, TailMask64(n));
}
OSTRIA_FN void StorePartial(float* p, int64_t n, PackF32 a) {
  _mm256_maskstore_ps(p, TailMask32(n), a.v);
}
OSTRIA_FN void StorePartial(double* p, int64_t n, PackF64 a) {
  _mm256_maskstore_pd(p, TailMask64(n), a.v);
}
OSTRIA_FN void Load(const bool* p, Mask32* out) {
  const __m256i wide = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  out->v = _mm256_castsi256_ps(_mm256_cmpgt_epi32(wide, _mm256_setzero_si256()));
}
OSTRIA_FN void Load(const bool* p, Mask64* out) {
  int32_t bytes;
  __builtin_memcpy(&bytes, p, 4);
  const __m256i wide = _mm256_cvtepu8_epi64(_mm_cvtsi32_si128(bytes));
  out->v = _mm256_castsi256_pd(_mm256_cmpgt_epi64(wide, _mm256_setzero_si256()));
}
OSTRIA_FN void Store(bool* p, Mask32 m) {
  const __m256i lanes = _mm256_castps_si256(m.v);
  const __m128i words =
      _mm_packs_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
  const __m128i bytes = _mm_and_si128(_mm_packs_epi16(words, words), _mm_set1_epi8(1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), bytes);
}
OSTRIA_FN void Store(bool* p, Mask64 m) {
  const int bits = _mm256_movemask_pd(m.v);
  for (int i = 0; i < 4; ++i) p[i] = (bits >> i) & 1;
}
template <class M>
OSTRIA_FN void LoadPartialMask(const bool* p, int64_t n, M* out) {
  bool bytes[8] = {};
  for (int64_t i = 0; i < n; ++i) bytes[i] = p[i];
  Load(bytes, out);
}
OSTRIA_FN void LoadPartial(const bool* p, int64_t n, Mask32* out) { LoadPartialMask(p, n, out); }
OSTRIA_FN void LoadPartial(const bool* p, int64_t n, Mask64* out) { LoadPartialMask(p, n, out); }
OSTRIA_FN void StorePartial(bool* p, int64_t n, Mask32 m) {
  const int bits = _mm256_movemask_ps(m.v);
  for (int64_t i = 0; i < n; ++i) p[i] = (bits >> i) & 1;
}
OSTRIA_FN void StorePartial(bool* p, int64_t n, Mask64 m) {
  const int bits = _mm256_movemask_pd(m.v);
  for (int64_t i = 0; i < n; ++i) p[i] = (bits >> i) & 1;
}

// Half types, eight at a time; rounding to nearest even, NaN stays NaN.
OSTRIA_FN PackF32 LoadF16(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
OSTRIA_FN void StoreF16(uint16_t* p, PackF32 a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm256_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
OSTRIA_FN PackF32 LoadBf16(const uint16_t* p) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
OSTRIA_FN void StoreBf16(uint16_t* p, PackF32 a) {
  const __m256i u = _mm256_castps_si256(a.v), high = _mm256_srli_epi32(u, 16);
  const __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
  const __m256i round = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
  const __m256i near = _mm256_srli_epi32(_mm256_add_epi32(u, round), 16);
  const __m256i nan = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
  const __m256 is_nan = _mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q);
  const __m256i r = _mm256_blendv_epi8(near, nan, _mm256_castps_si256(is_nan));
  const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), words);
}

/// Eight unsigned integers, for the generators.
struct PackU32 {
  static constexpr int kLanes = 8;
  __m256i v;
  PackU32() = default;
  OSTRIA_FN PackU32(__m256i raw) : v(raw) {}  // NOLINT
  OSTRIA_FN explicit PackU32(uint32_t s) : v(_mm256_set1_epi32(static_cast<int>(s))) {}
};
OSTRIA_FN PackU32 operator^(PackU32 a, PackU32 b) { return _mm256_xor_si256(a.v, b.v); }
OSTRIA_FN PackU32 LoadU32(const uint32_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
template <int kShift>
OSTRIA_FN PackU32 ShiftRight(PackU32 a) {
  return _mm256_srli_epi32(a.v, kShift);
}
OSTRIA_FN PackU32 LowBits31(PackU32 a) {
  return _mm256_and_si256(a.v, _mm256_set1_epi32(0x7fffffff));
}
OSTRIA_FN Mask32 AtMost(PackU32 a, uint32_t last) {  // unsigned
  const __m256i b = _mm256_set1_epi32(static_cast<int>(last));
  return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_min_epu32(a.v, b), a.v))};
}
OSTRIA_FN PackF32 FromSmallInt(PackU32 a) { return _mm256_cvtepi32_ps(a.v); }  // below 2^31
OSTRIA_FN PackF32 AsSignOf(PackU32 a) {  // -0.0 where the top bit is set, else +0.0
  return _mm256_and_ps(_mm256_castsi256_ps(a.v), _mm256_set1_ps(-0.0f));
}
OSTRIA_FN void MulHiLo(PackU32 a, uint32_t b, PackU32* high, PackU32* low) {
  const __m256i m = _mm256_set1_epi32(static_cast<int>(b));
  const __m256i even = _mm256_mul_epu32(a.v, m);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(a.v, 32), m);
  *high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
  *low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
}
/// Writes a[0] b[0] c[0] d[0] a[1] ...
OSTRIA_FN void StoreInterleaved(uint32_t* p, PackU32 a, PackU32 b, PackU32 c, PackU32 d) {
  const __m256i ab0 = _mm256_unpacklo_epi32(a.v, b.v), ab1 = _mm256_unpackhi_epi32(a.v, b.v);
  const __m256i cd0 = _mm256_unpacklo_epi32(c.v, d.v), cd1 = _mm256_unpackhi_epi32(c.v, d.v);
  const __m256i q0 = _mm256_unpacklo_epi64(ab0, cd0), q1 = _mm256_unpackhi_epi64(ab0, cd0);
  const __m256i q2 = _mm256_unpacklo_epi64(ab1, cd1), q3 = _mm256_unpackhi_epi64(ab1, cd1);
  __m256i* out = reinterpret_cast<__m256i*>(p);
  _mm256_storeu_si256(out + 0, _mm256_permute2x128_si256(q0, q1, 0x20));
  _mm256_storeu_si256(out + 1, _mm256_permute2x128_si256(q2, q3, 0x20));
  _mm256_storeu_si256(out + 2, _mm256_permute2x128_si256(q0, q1, 0x31));
  _mm256_storeu_si256(out + 3, _mm256_permute2x128_si256(q2, q3, 0x31));
}

}  // namespace OSTRIA_ISA_NS
}  // namespace ostria::simd
