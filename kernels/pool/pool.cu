// SPDX-License-Identifier: Apache-2.0
// A thread makes a vector of channels of the result. Gradients gather: an element of the image
// looks at every window that sees it, in the order of the windows, so nothing is added in an order
// of chance. Rules as the CPU's: the first of equal maxima, the last NaN; averages count what lies
// inside the image.
#include "kernels/pool/pool.h"

#include "kernels/common/chunk.h"
#include "kernels/common/vec.h"

namespace ostria::kernels {
namespace {

template <class I, int kCount>
OSTRIA_DEVICE void StoreIndices(void* index, int64_t at, const int (&where)[kCount]) {
  Chunk<I, kCount> chunk;
  for (int k = 0; k < kCount; ++k) chunk.x[k] = static_cast<I>(where[k]);
  *reinterpret_cast<Chunk<I, kCount>*>(static_cast<I*>(index) + at) = chunk;
}
// Adds to `sum` those of `g` whose index is `here`.
template <class I, class C, int kCount>
OSTRIA_DEVICE void AddWhere(const void* index, int64_t at, int here, const C (&g)[kCount],
                            C (&sum)[kCount]) {
  const auto chunk = *reinterpret_cast<const Chunk<I, kCount>*>(static_cast<const I*>(index) + at);
  for (int k = 0; k < kCount; ++k) sum[k] += chunk.x[k] == static_cast<I>(here) ? g[k] : C(0);
}

template <class T, int kCount>
struct Pool {
  using C = Compute<T>;

  // The first element of the image that window `o` sees.
  static OSTRIA_DEVICE const T* FirstOf(const PoolParams& p, const WindowPlace& o, Range planes,
                                        Range rows, Range columns) {
    const WindowShape& w = p.window;
    const int64_t pixel = PixelOf(o.image, o.at[0] * w.stride[0] - w.low[0] + planes.begin,
                                  o.at[1] * w.stride[1] - w.low[1] + rows.begin,
                                  o.at[2] * w.stride[2] - w.low[2] + columns.begin, w.in);
    return static_cast<const T*>(p.src) + pixel * w.channels + int64_t{o.group} * kCount;
  }

  static OSTRIA_DEVICE void Max(const PoolParams& p, int64_t element) {
    const WindowShape& w = p.window;
    const WindowPlace o = PlaceOf(element, w.out, w.channels / kCount);
    const Range planes = InsideOf(w, o.at[0], 0), rows = InsideOf(w, o.at[1], 1),
                columns = InsideOf(w, o.at[2], 2);
    const T* const first = FirstOf(p, o, planes, rows, columns);
    const int64_t line = w.in[2] * w.channels;
    C best[kCount] = {};
    int where[kCount] = {};
    bool some = false;
    for (int t = planes.begin; t < planes.end; ++t) {
      for (int i = rows.begin; i < rows.end; ++i) {
        const T* src = first + ((t - planes.begin) * w.in[1] + i - rows.begin) * line;
        int here = (t * w.size[1] + i) * w.size[2] + columns.begin;
        OSTRIA_NO_UNROLL
        for (int j = columns.begin; j < columns.end; ++j, ++here, src += w.channels) {
          C x[kCount];
          LoadVector(src, x);
          for (int k = 0; k < kCount; ++k) {
            if (some && !(x[k] > best[k]) && x[k] == x[k]) continue;
            best[k] = x[k];
            where[k] = here;
          }
          some = true;
        }
      }
    }
    const int64_t at = element * kCount;
    StoreVector(static_cast<T*>(p.dst) + at, best);
    if (p.index == nullptr) return;
    if (p.wide_index != 0) {
      StoreIndices<int32_t>(p.index, at, where);
    } else {
      StoreIndices<uint8_t>(p.index, at, where);
    }
  }

  static OSTRIA_DEVICE void Average(const PoolParams& p, int64_t element) {
    const WindowShape& w = p.window;
    const WindowPlace o = PlaceOf(element, w.out, w.channels / kCount);
    const Range planes = InsideOf(w, o.at[0], 0), rows = InsideOf(w, o.at[1], 1),
                columns = InsideOf(w, o.at[2], 2);
    const T* const first = FirstOf(p, o, planes, rows, columns);
    const int64_t line = w.in[2] * w.channels;
    C sum[kCount] = {};
    for (int t = planes.begin; t < planes.end; ++t) {
      for (int i = rows.begin; i < rows.end; ++i) {
        const T* src = first + ((t - planes.begin) * w.in[1] + i - rows.begin) * line;
        OSTRIA_NO_UNROLL
        for (int j = columns.begin; j < columns.end; ++j, src += w.channels) {
          C x[kCount];
          LoadVector(src, x);
          for (int k = 0; k < kCount; ++k) sum[k] += x[k];
        }
      }
    }
    const C count = static_cast<C>(planes.length()) * static_cast<C>(rows.length()) *
                    static_cast<C>(columns.length());
    for (int k = 0; k < kCount; ++k) sum[k] /= count;
    StoreVector(static_cast<T*>(p.dst) + element * kCount, sum);
  }

  // Of element `element` of the image. kMax: what its windows gave to their maximum, if it is that;
  // else its share of what they gave to all.
  template <bool kMax>
  static OSTRIA_DEVICE void Grad(const PoolParams& p, int64_t element) {
    const WindowShape& w = p.window;
    const WindowPlace x = PlaceOf(element, w.in, w.channels / kCount);
    const Range planes = CoveringOf(w, x.at[0], 0), rows = CoveringOf(w, x.at[1], 1),
                columns = CoveringOf(w, x.at[2], 2);
    C sum[kCount] = {};
    for (int od = planes.begin; od < planes.end; ++od) {
      for (int oh = rows.begin; oh < rows.end; ++oh) {
        [[maybe_unused]] const C deep_high = static_cast<C>(InsideOf(w, od, 0).length()) *
                                             static_cast<C>(InsideOf(w, oh, 1).length());
        OSTRIA_NO_UNROLL
        for (int ow = columns.begin; ow < columns.end; ++ow) {
          const int64_t at =
              PixelOf(x.image, od, oh, ow, w.out) * w.channels + int64_t{x.group} * kCount;
          C g[kCount];
          LoadVector(static_cast<const T*>(p.src) + at, g);
          if constexpr (kMax) {
            const int here = ((x.at[0] + w.low[0] - od * w.stride[0]) * w.size[1] + x.at[1] +
                              w.low[1] - oh * w.stride[1]) *
                                 w.size[2] +
                             x.at[2] + w.low[2] - ow * w.stride[2];
            if (p.wide_index != 0) {
              AddWhere<int32_t>(p.index, at, here, g, sum);
            } else {
              AddWhere<uint8_t>(p.index, at, here, g, sum);
            }
          } else {
            const C count = deep_high * static_cast<C>(InsideOf(w, ow, 2).length());
            if constexpr (sizeof(T) == 2) {  // float keeps bits enough for one division
              const C share = C(1) / count;
              for (int k = 0; k < kCount; ++k) sum[k] += g[k] * share;
            } else {
              for (int k = 0; k < kCount; ++k) sum[k] += g[k] / count;
            }
          }
        }
      }
    }
    StoreVector(static_cast<T*>(p.dst) + element * kCount, sum);
  }
};

// Calls fn(Pool<…>, element) for this thread's elements, vectors where channels and memory allow.
template <class T, class Fn>
OSTRIA_DEVICE void ForElements(const PoolParams& p, const int32_t (&sizes)[3], Fn fn) {
  const WindowShape& w = p.window;
  const int64_t first = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int64_t threads = int64_t{gridDim.x} * blockDim.x;
  const int64_t elements = w.batch * sizes[0] * sizes[1] * sizes[2] * w.channels;
  constexpr int kMany = kVector<T>;
  const bool index_fits = p.wide_index != 0
                              ? IsAligned<int32_t, kMany>(static_cast<const int32_t*>(p.index))
                              : IsAligned<uint8_t, kMany>(static_cast<const uint8_t*>(p.index));
  if (w.channels % kMany == 0 && index_fits && SkewOf(p.src) == 0 && SkewOf(p.dst) == 0) {
    for (int64_t i = first; i < elements / kMany; i += threads) fn(Pool<T, kMany>(), i);
  } else {
    for (int64_t i = first; i < elements; i += threads) fn(Pool<T, 1>(), i);
  }
}

template <class T>
OSTRIA_DEVICE void MaxPool(const PoolParams& p) {
  ForElements<T>(p, p.window.out, [&](auto pool, int64_t i) { pool.Max(p, i); });
}
template <class T>
OSTRIA_DEVICE void AvgPool(const PoolParams& p) {
  ForElements<T>(p, p.window.out, [&](auto pool, int64_t i) { pool.Average(p, i); });
}
template <class T>
OSTRIA_DEVICE void MaxPoolGrad(const PoolParams& p) {
  ForElements<T>(p, p.window.in, [&](auto pool, int64_t i) { pool.template Grad<true>(p, i); });
}
template <class T>
OSTRIA_DEVICE void AvgPoolGrad(const PoolParams& p) {
  ForElements<T>(p, p.window.in, [&](auto pool, int64_t i) { pool.template Grad<false>(p, i); });
}

}  // namespace

#define OSTRIA_POOLS(suffix, T)                                                \
  OSTRIA_KERNEL(max_pool##suffix, PoolParams, 256) { MaxPool<T>(p); }          \
  OSTRIA_KERNEL(avg_pool##suffix, PoolParams, 256) { AvgPool<T>(p); }          \
  OSTRIA_KERNEL(max_pool_grad##suffix, PoolParams, 256) { MaxPoolGrad<T>(p); } \
  OSTRIA_KERNEL(avg_pool_grad##suffix, PoolParams, 256) { AvgPoolGrad<T>(p); }
OSTRIA_POOLS(_f32, float)
OSTRIA_POOLS(_f64, double)
OSTRIA_POOLS(_f16, Float16)
OSTRIA_POOLS(_bf16, BFloat16)
#undef OSTRIA_POOLS

}  // namespace ostria::kernels
