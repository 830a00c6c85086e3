// SPDX-License-Identifier: Apache-2.0
// The pools of pool_table.h, compiled once per instruction set. Window positions are carried as
// floats next to the maxima (exact up to 2^24) and stored as integers at the end.
#pragma once

#include "backend/cpu/simd/pack.h"
#include "backend/cpu/simd/pool_table.h"

namespace ostria {
namespace simd {
inline namespace OSTRIA_ISA_NS {

template <class V>
struct Pool {
  using T = ScalarOf<V>;
  static constexpr int64_t kLanes = kLanesOf<V>;

  static OSTRIA_FN V LoadSome(const T* p, int64_t n) {
    return n >= kLanes ? LoadVec<V>(p) : LoadVecPartial<V>(p, n);
  }
  static OSTRIA_FN void StoreSome(T* p, int64_t n, V v) {
    if (n >= kLanes) {
      Store(p, v);
    } else {
      StorePartial(p, n, v);
    }
  }

  // The part [begin, end) of a window of `size` at `at` that lies inside [0, limit).
  struct Part {
    int64_t begin, end;
  };
  static OSTRIA_FN Part Clip(int64_t at, int64_t size, int64_t limit) {
    const int64_t begin = at < 0 ? -at : 0;
    return {begin, at + size > limit ? limit - at : size};
  }
  // Windows [begin, end) that cover position `at`.
  static OSTRIA_FN Part Covering(int64_t at, int64_t low, int64_t size, int64_t stride,
                                 int64_t count) {
    const int64_t last = (at + low) / stride, reach = at + low - size;
    const int64_t first = reach < 0 ? 0 : reach / stride + 1;
    return {first, last + 1 < count ? last + 1 : count};
  }

  // Loops of constant length, so that the compiler turns them into vector conversions.
  template <class I>
  static OSTRIA_FN void StoreAs(I* out, int64_t n, const T* lanes) {
    if (n == kLanes) {
      for (int64_t i = 0; i < kLanes; ++i) out[i] = static_cast<I>(static_cast<int32_t>(lanes[i]));
    } else {
      for (int64_t i = 0; i < n; ++i) out[i] = static_cast<I>(static_cast<int32_t>(lanes[i]));
    }
  }
  template <class I>
  static OSTRIA_FN V LoadAs(const I* in, int64_t n) {
    alignas(64) T lanes[kLanes];
    if (n == kLanes) {
      for (int64_t i = 0; i < kLanes; ++i) lanes[i] = static_cast<T>(static_cast<int32_t>(in[i]));
    } else {
      for (int64_t i = 0; i < kLanes; ++i) {
        lanes[i] = i < n ? static_cast<T>(static_cast<int32_t>(in[i])) : T(0);
      }
    }
    return LoadVec<V>(lanes);
  }
  static OSTRIA_FN void StoreIndex(const PoolShape& p, void* index, int64_t at, int64_t n,
                                   V value) {
    alignas(64) T lanes[kLanes];
    Store(lanes, value);
    if (p.wide_index) {
      StoreAs(static_cast<int32_t*>(index) + at, n, lanes);
    } else {
      StoreAs(static_cast<uint8_t*>(index) + at, n, lanes);
    }
  }
  static OSTRIA_FN V LoadIndex(const PoolShape& p, const void* index, int64_t at, int64_t n) {
    if (p.wide_index) return LoadAs(static_cast<const int32_t*>(index) + at, n);
    const uint8_t* in = static_cast<const uint8_t*>(index) + at;
#if OSTRIA_SIMD_ISA == 2
    if constexpr (kernels::kIsF32<V>) {
      if (n == kLanes) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in));
        return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
      }
    }
#elif OSTRIA_SIMD_ISA == 1
    if constexpr (kernels::kIsF32<V>) {
      if (n == kLanes) {
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(in));
        return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
      }
    }
#endif
    return LoadAs(in, n);
  }

  // Where row `row` of the result (or of the image) lies: of which image, at what depth and height.
  struct Row {
    int64_t image, depth, height;
  };
  static OSTRIA_FN Row RowAt(int64_t row, int64_t depths, int64_t heights) {
    return {row / (depths * heights), row / heights % depths, row % heights};
  }

  // The usual window, 2 x 2 and inside the image, without loops around four vectors.
  static void MaxOfFour(const PoolShape& p, const T* corner, T* y, void* index, int64_t out) {
    const int64_t line = p.w * p.c;
    const T* const at[] = {corner, corner + p.c, corner + line, corner + line + p.c};
    for (int64_t c = 0; c < p.c; c += kLanes) {
      const int64_t left = p.c - c, n = left < kLanes ? left : kLanes;
      V best = LoadSome(at[0] + c, n), where = V(T(0));
      for (int k = 1; k < 4; ++k) {
        const V v = LoadSome(at[k] + c, n);
        const auto better = (v > best) | (v != v);
        best = Select(better, v, best);
        where = Select(better, V(static_cast<T>(k)), where);
      }
      StoreSome(y + out + c, n, best);
      StoreIndex(p, index, out + c, n, where);
    }
  }

  static void Max(const PoolShape& p, const T* x, T* y, void* index, int64_t row) {
    const Row at = RowAt(row, p.od, p.oh);
    const int64_t d0 = at.depth * p.stride_d - p.front, h0 = at.height * p.stride_h - p.top;
    const Part planes = Clip(d0, p.kd, p.d), rows = Clip(h0, p.kh, p.h);
    const T* image = x + at.image * p.d * p.h * p.w * p.c;
    const bool four =
        p.d == 1 && p.kd == 1 && p.kh == 2 && p.kw == 2 && d0 == 0 && rows.end - rows.begin == 2;
    for (int64_t ow = 0; ow < p.ow; ++ow) {
      const int64_t w0 = ow * p.stride_w - p.left, out = (row * p.ow + ow) * p.c;
      const Part cols = Clip(w0, p.kw, p.w);
      if (four && cols.end - cols.begin == 2) {
        MaxOfFour(p, image + (h0 * p.w + w0) * p.c, y, index, out);
        continue;
      }
      for (int64_t c = 0; c < p.c; c += kLanes) {
        const int64_t left = p.c - c, n = left < kLanes ? left : kLanes;
        V best = V(T(0)), where = V(T(0));
        bool first = true;
        for (int64_t t = planes.begin; t < planes.end; ++t) {
          for (int64_t i = rows.begin; i < rows.end; ++i) {
            const T* line = image + ((d0 + t) * p.h + h0 + i) * p.w * p.c + c;
            for (int64_t j = cols.begin; j < cols.end; ++j) {
              const V v = LoadSome(line + (w0 + j) * p.c, n);
              const V here = V(static_cast<T>((t * p.kh + i) * p.kw + j));
              if (first) {
                best = v;
                where = here;
                first = false;
              } else {
                const auto better = (v > best) | (v != v);
                best = Select(better, v, best);
                where = Select(better, here, where);
              }
            }
          }
        }
        StoreSome(y + out + c, n, best);
        StoreIndex(p, index, out + c, n, where);
      }
    }
  }

  static void MaxGrad(const PoolShape& p, const T* g, const void* index, T* dx, int64_t row) {
    if (p.stride_d >= p.kd && p.stride_h >= p.kh && p.stride_w >= p.kw) {
      MaxGradApart(p, g, index, dx, row);
    } else {
      MaxGradOverlapping(p, g, index, dx, row);
    }
  }

  // No element lies in two windows: each window is read once and writes its part of the row.
  static void MaxGradApart(const PoolShape& p, const T* g, const void* index, T* dx, int64_t row) {
    const Row at = RowAt(row, p.d, p.h);
    const int64_t od = (at.depth + p.front) / p.stride_d, t = at.depth + p.front - od * p.stride_d;
    const int64_t oh = (at.height + p.top) / p.stride_h, i = at.height + p.top - oh * p.stride_h;
    const bool seen = od < p.od && t < p.kd && oh < p.oh && i < p.kh;
    const int64_t line = ((at.image * p.od + od) * p.oh + oh) * p.ow;
    T* out = dx + row * p.w * p.c;
    int64_t done = 0;  // columns written
    for (int64_t ow = 0; seen && ow < p.ow; ++ow) {
      const int64_t w0 = ow * p.stride_w - p.left;
      const Part cols = Clip(w0, p.kw, p.w);
      Zero(out + done * p.c, (w0 + cols.begin - done) * p.c);
      done = w0 + cols.end;
      for (int64_t c = 0; c < p.c; c += kLanes) {
        const int64_t left = p.c - c, n = left < kLanes ? left : kLanes;
        const int64_t from = (line + ow) * p.c + c;
        const V won = LoadIndex(p, index, from, n), value = LoadSome(g + from, n);
        for (int64_t j = cols.begin; j < cols.end; ++j) {
          const V here = V(static_cast<T>((t * p.kh + i) * p.kw + j));
          StoreSome(out + (w0 + j) * p.c + c, n, Select(won == here, value, V(T(0))));
        }
      }
    }
    Zero(out + done * p.c, (p.w - done) * p.c);
  }
  static OSTRIA_FN void Zero(T* p, int64_t n) {
    for (; n > 0; n -= kLanes, p += kLanes) StoreSome(p, n, V(T(0)));
  }

  static void MaxGradOverlapping(const PoolShape& p, const T* g, const void* index, T* dx,
                                 int64_t row) {
    const Row at = RowAt(row, p.d, p.h);
    const Part planes = Covering(at.depth, p.front, p.kd, p.stride_d, p.od);
    const Part rows = Covering(at.height, p.top, p.kh, p.stride_h, p.oh);
    for (int64_t w = 0; w < p.w; ++w) {
      const Part cols = Covering(w, p.left, p.kw, p.stride_w, p.ow);
      for (int64_t c = 0; c < p.c; c += kLanes) {
        const int64_t left = p.c - c, n = left < kLanes ? left : kLanes;
        V sum = V(T(0));
        for (int64_t od = planes.begin; od < planes.end; ++od) {
          const int64_t t = at.depth + p.front - od * p.stride_d;
          for (int64_t oh = rows.begin; oh < rows.end; ++oh) {
            const int64_t i = at.height + p.top - oh * p.stride_h;
            const int64_t line = ((at.image * p.od + od) * p.oh + oh) * p.ow;
            for (int64_t ow = cols.begin; ow < cols.end; ++ow) {
              const int64_t j = w + p.left - ow * p.stride_w, from = (line + ow) * p.c + c;
              const V here = V(static_cast<T>((t * p.kh + i) * p.kw + j));
              const auto won = LoadIndex(p, index, from, n) == here;
              sum = sum + Select(won, LoadSome(g + from, n), V(T(0)));
            }
          }
        }
        StoreSome(dx + (row * p.w + w) * p.c + c, n, sum);
      }
    }
  }

  static OSTRIA_FN int64_t Length(Part part) { return part.end - part.begin; }

  static void Average(const PoolShape& p, const T* x, T* y, int64_t row) {
    const Row at = RowAt(row, p.od, p.oh);
    const int64_t d0 = at.depth * p.stride_d - p.front, h0 = at.height * p.stride_h - p.top;
    const Part planes = Clip(d0, p.kd, p.d), rows = Clip(h0, p.kh, p.h);
    const T* image = x + at.image * p.d * p.h * p.w * p.c;
    for (int64_t ow = 0; ow < p.ow; ++ow) {
      const int64_t w0 = ow * p.stride_w - p.left;
      const Part cols = Clip(w0, p.kw, p.w);
      const V count = V(static_cast<T>(Length(planes) * Length(rows) * Length(cols)));
      for (int64_t c = 0; c < p.c; c += kLanes) {
        const int64_t left = p.c - c, n = left < kLanes ? left : kLanes;
        V sum = V(T(0));
        for (int64_t t = planes.begin; t < planes.end; ++t) {
          for (int64_t i = rows.begin; i < rows.end; ++i) {
            const T* line = image + ((d0 + t) * p.h + h0 + i) * p.w * p.c + c;
            for (int64_t j = cols.begin; j < cols.end; ++j) {
              sum = sum + LoadSome(line + (w0 + j) * p.c, n);
            }
          }
        }
        StoreSome(y + (row * p.ow + ow) * p.c + c, n, sum / count);
      }
    }
  }

  static void AverageGrad(const PoolShape& p, const T* g, T* dx, int64_t row) {
    const Row at = RowAt(row, p.d, p.h);
    const Part planes = Covering(at.depth, p.front, p.kd, p.stride_d, p.od);
    const Part rows = Covering(at.height, p.top, p.kh, p.stride_h, p.oh);
    for (int64_t w = 0; w < p.w; ++w) {
      const Part cols = Covering(w, p.left, p.kw, p.stride_w, p.ow);
      for (int64_t c = 0; c < p.c; c += kLanes) {
        const int64_t left = p.c - c, n = left < kLanes ? left : kLanes;
        V sum = V(T(0));
        for (int64_t od = planes.begin; od < planes.end; ++od) {
          const int64_t deep = Length(Clip(od * p.stride_d - p.front, p.kd, p.d));
          for (int64_t oh = rows.begin; oh < rows.end; ++oh) {
            const int64_t high = deep * Length(Clip(oh * p.stride_h - p.top, p.kh, p.h));
            const int64_t line = ((at.image * p.od + od) * p.oh + oh) * p.ow;
            for (int64_t ow = cols.begin; ow < cols.end; ++ow) {
              const int64_t wide = Length(Clip(ow * p.stride_w - p.left, p.kw, p.w));
              const V count = V(static_cast<T>(high * wide));
              sum = sum + LoadSome(g + (line + ow) * p.c + c, n) / count;
            }
          }
        }
        StoreSome(dx + (row * p.w + w) * p.c + c, n, sum);
      }
    }
  }

  static constexpr PoolKernels<T> kFns = {&Max, &Average, &MaxGrad, &AverageGrad};
};

constexpr PoolTable MakePoolTable() { return {Pool<VecF32>::kFns, Pool<VecF64>::kFns}; }

}  // namespace OSTRIA_ISA_NS
}  // namespace simd
}  // namespace ostria
