// SPDX-License-Identifier: Apache-2.0
// Convolutions of small images, compiled once per instruction set: a register tile is one place of
// several images, so all of it sees the same elements of the window, and none is spent on borders.
#pragma once

#include "backend/cpu/simd/conv_table.h"
#include "backend/cpu/simd/pack.h"

namespace ostria {
namespace simd {
inline namespace OSTRIA_ISA_NS {

struct Places {
  using V = VecF32;
  static constexpr int64_t kLanes = kLanesOf<V>;
  // kImages x kVecs sums stay in registers, with kVecs vectors of the kernel and one element.
  static constexpr int64_t kImages = kLanes == 16 ? 8 : 4;
  static constexpr int kVecs = kLanes == 16 ? 2 : 3;
  static constexpr int64_t kColumns = kVecs * kLanes;

  static void Pack(const PlacesArgs& a, int64_t begin, int64_t end) {
    const int64_t places = a.from[0] * a.from[1], image = places * a.k;
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t n = unit / places * kImages;
      const float* from = a.source + n * image + unit % places * a.k;
      float* to = a.packed + unit * a.k * kImages;
      for (int64_t i = 0; i < kImages; ++i, from += image) {
        const bool there = n + i < a.n;
        for (int64_t k = 0; k < a.k; ++k) to[k * kImages + i] = there ? from[k] : 0.f;
      }
    }
  }

  // A line of the window for one block of columns: [window[1]][k][kColumns].
  static void PackKernel(const PlacesArgs& a, int64_t line, int64_t column, float* to) {
    const int64_t c = a.backward ? a.width : a.k;
    const int64_t element = line * a.window[1] * c, filter = a.window[0] * a.window[1] * c;
    const int64_t some = a.width - column < kColumns ? a.width - column : kColumns;
    for (int64_t j = 0; j < a.window[1]; ++j, to += a.k * kColumns) {
      const float* from = a.kernel + element + j * c;
      if (a.backward) {
        for (int64_t k = 0; k < a.k; ++k) {
          const float* row = from + k * filter + column;
          for (int64_t v = 0; v < kVecs; ++v) {
            const int64_t left = some - v * kLanes;
            Store(to + k * kColumns + v * kLanes,
                  left > 0 ? LoadVecUpTo<V>(row + v * kLanes, left) : V(0.f));
          }
        }
        continue;
      }
      constexpr int64_t kRows = 64;  // of `to` stay in level-1 cache while all columns are written
      for (int64_t k0 = 0; k0 < a.k; k0 += kRows) {
        const int64_t rows = a.k - k0 < kRows ? a.k - k0 : kRows;
        for (int64_t o = 0; o < kColumns; ++o) {
          const float* in = from + (column + o) * filter + k0;
          float* out = to + k0 * kColumns + o;
          for (int64_t k = 0; k < rows; ++k) out[k * kColumns] = o < some ? in[k] : 0.f;
        }
      }
    }
  }

  // The source's place along an axis that out's place sees through element `e`, or -1.
  static int64_t From(const PlacesArgs& a, int axis, int64_t place, int64_t e) {
    int64_t at = e * a.dilation[axis] - a.low[axis];
    if (a.backward) {
      at = place - at;
      if (at < 0 || at % a.stride[axis] != 0) return -1;
      at /= a.stride[axis];
    } else {
      at += place * a.stride[axis];
    }
    return at >= 0 && at < a.from[axis] ? at : -1;
  }

  // Adds what one line of the window gives to a place of a group of images.
  static void RunTile(const PlacesArgs& a, const float* line, const float* kernel, int64_t x,
                      float* out, int64_t images, int64_t columns) {
    V acc[kImages][kVecs];
    for (int i = 0; i < kImages; ++i) {
      for (int v = 0; v < kVecs; ++v) acc[i][v] = V(0.f);
    }
    for (int64_t j = 0; j < a.window[1]; ++j, kernel += a.k * kColumns) {
      const int64_t from = From(a, 1, x, j);
      if (from < 0) continue;
      const float *p = line + from * a.k * kImages, *w = kernel;
      for (int64_t k = 0; k < a.k; ++k, p += kImages, w += kColumns) {
        V weight[kVecs];
        for (int v = 0; v < kVecs; ++v) weight[v] = LoadVec<V>(w + v * kLanes);
        for (int i = 0; i < kImages; ++i) {
          const V value = V(p[i]);
          for (int v = 0; v < kVecs; ++v) acc[i][v] = Fma(value, weight[v], acc[i][v]);
        }
      }
    }
    const int64_t image = a.to[0] * a.to[1] * a.width;
    for (int i = 0; i < kImages; ++i) {
      if (i >= images) break;
      for (int v = 0; v < kVecs; ++v) {
        const int64_t some = columns - v * kLanes;
        if (some <= 0) break;
        float* to = out + i * image + v * kLanes;
        StoreVec(to, some, LoadVecUpTo<V>(to, some) + acc[i][v]);
      }
    }
  }

  // One block of columns of the groups from `first` to `last`.
  static void RunBlock(const PlacesArgs& a, int64_t block, int64_t first, int64_t last,
                       float* scratch) {
    const int64_t column = block * kColumns, places = a.to[0] * a.to[1];
    const int64_t columns = a.width - column < kColumns ? a.width - column : kColumns;
    const int64_t from_line = a.from[1] * a.k * kImages;
    const int64_t end = last * kImages < a.n ? last * kImages : a.n;
    for (int64_t p = first * kImages * places; p < end * places; ++p) {
      __builtin_memset(a.out + p * a.width + column, 0, sizeof(float) * columns);
    }
    for (int64_t i = 0; i < a.window[0]; ++i) {
      PackKernel(a, i, column, scratch);
      for (int64_t group = first; group < last; ++group) {
        const int64_t n = group * kImages;
        const float* lines = a.packed + group * a.from[0] * from_line;
        for (int64_t y = 0; y < a.to[0]; ++y) {
          const int64_t from = From(a, 0, y, i);
          if (from < 0) continue;
          float* out = a.out + (n * a.to[0] + y) * a.to[1] * a.width + column;
          for (int64_t x = 0; x < a.to[1]; ++x, out += a.width) {
            RunTile(a, lines + from * from_line, scratch, x, out, a.n - n, columns);
          }
        }
      }
    }
  }

  static void Run(const PlacesArgs& a, int64_t begin, int64_t end, float* scratch) {
    const int64_t groups = (a.n + kImages - 1) / kImages;
    while (begin < end) {
      const int64_t block = begin / groups, first = begin % groups;
      const int64_t last = end - begin < groups - first ? first + end - begin : groups;
      RunBlock(a, block, first, last, scratch);
      begin += last - first;
    }
  }
};

}  // namespace OSTRIA_ISA_NS
}  // namespace simd
}  // namespace ostria
