// SPDX-License-Identifier: Apache-2.0
// The gradient by the kernel of winograd_table.h, compiled once per instruction set.
#pragma once

#include "backend/cpu/simd/pack.h"
#include "backend/cpu/simd/winograd_impl.h"
#include "backend/cpu/simd/winograd_table.h"

namespace ostria {
namespace simd {
inline namespace OSTRIA_ISA_NS {

struct WinogradGrad {
  using V = VecF32;
  static constexpr int64_t kLanes = kLanesOf<V>;
  // kOutputs x kVecs sums stay in registers, with kVecs vectors of the image and one of grad.
  static constexpr int64_t kOutputs = kLanes == 16 ? 8 : 4;
  static constexpr int kVecs = 2;
  static constexpr int64_t kColumns = kVecs * kLanes;
  static constexpr int64_t kSkew = Winograd::kSkew;
  static constexpr int kLine = 4;  // frequencies of a line

  static constexpr int64_t RoundUp(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

  // Floats from one frequency to the next, of the image and of grad.
  static int64_t ImageStep(int64_t k, int64_t block) {
    return RoundUp(k, kColumns) * block + kSkew;
  }
  static int64_t GradStep(int64_t outputs, int64_t block) {
    return RoundUp(outputs, kLanes) * block + kSkew;
  }
  static int64_t Scratch(int64_t k, int64_t outputs, int64_t block) {
    return kLine * (ImageStep(k, block) + GradStep(outputs, block));
  }

  // A line of B' d B of one tile: [frequency][panels of channels][tile][kColumns].
  template <bool kInside>
  static OSTRIA_FN void SpreadImage(const WinogradGradArgs& a, int line, const TileImage& d,
                                    int64_t at, float* to) {
    const int64_t k = a.t.k, apart = ImageStep(k, a.block);
    // Each line is a sum or difference of two of the tile's.
    const int one = line == 0 ? 0 : line == 2 ? 2 : 1, other = line == 2 ? 1 : line == 3 ? 3 : 2;
    for (int64_t c = 0; c < RoundUp(k, kColumns); c += kLanes) {
      V half[4];
      for (int j = 0; j < 4; ++j) {
        const V x = c < k ? d.Load<V, kInside>(one, j, c, k - c) : V(0.f);
        const V y = c < k ? d.Load<V, kInside>(other, j, c, k - c) : V(0.f);
        half[j] = line == 1 ? x + y : x - y;
      }
      float* out = to + (c / kColumns * a.block + at) * kColumns + c % kColumns;
      for (int j = 0; j < kLine; ++j, out += apart) {
        Store(out, ImageLine(j, half[0], half[1], half[2], half[3]));
      }
    }
  }

  // A line of A g A': [frequency][vectors of outputs][tile][kLanes].
  static void SpreadGrad(const WinogradGradArgs& a, int line, const TileAt& tile, int64_t at,
                         int64_t begin, int64_t end, float* to) {
    const WinogradTiles& t = a.t;
    const int64_t y = 2 * tile.y, x = 2 * tile.x, apart = GradStep(end - begin, a.block);
    const float* from = a.grad + ((tile.n * t.to[0] + y) * t.to[1] + x) * a.o;
    const bool below = y + 1 < t.to[0], right = x + 1 < t.to[1];
    for (int64_t o = begin; o < end; o += kLanes) {
      const int64_t some = a.o - o;
      V half[2];
      for (int j = 0; j < 2; ++j) {
        const bool there = j == 0 || right;
        const float* column = from + j * a.o + o;
        const V up = there && line != 3 ? LoadVecUpTo<V>(column, some) : V(0.f);
        const V down =
            there && below && line != 0 ? LoadVecUpTo<V>(column + t.to[1] * a.o, some) : V(0.f);
        half[j] = line < 2 ? up + down : up - down;
      }
      float* out = to + ((o - begin) / kLanes * a.block + at) * kLanes;
      Store(out, half[0]);
      Store(out + apart, half[0] + half[1]);
      Store(out + 2 * apart, half[0] - half[1]);
      Store(out + 3 * apart, -half[1]);
    }
  }

  static OSTRIA_FN void Products(const float* image, const float* grad, int64_t count, float* sums,
                                 int64_t row, bool first) {
    V acc[kOutputs][kVecs];
    for (int o = 0; o < kOutputs; ++o) {
      for (int v = 0; v < kVecs; ++v) acc[o][v] = V(0.f);
    }
    for (int64_t t = 0; t < count; ++t, image += kColumns, grad += kLanes) {
      V value[kVecs];
      for (int v = 0; v < kVecs; ++v) value[v] = LoadVec<V>(image + v * kLanes);
      for (int o = 0; o < kOutputs; ++o) {
        const V weight = V(grad[o]);
        for (int v = 0; v < kVecs; ++v) acc[o][v] = Fma(weight, value[v], acc[o][v]);
      }
    }
    for (int o = 0; o < kOutputs; ++o) {
      for (int v = 0; v < kVecs; ++v) {
        float* to = sums + o * row + v * kLanes;
        Store(to, first ? acc[o][v] : LoadVec<V>(to) + acc[o][v]);
      }
    }
  }

  static void SumLine(const WinogradGradArgs& a, int line, int64_t first, int64_t count,
                      int64_t begin, int64_t end, float* scratch) {
    const int64_t image_step = ImageStep(a.t.k, a.block),
                  grad_step = GradStep(end - begin, a.block);
    const int64_t row = RoundUp(a.t.k, kColumns), plane = RoundUp(a.o, kLanes) * row;
    float* const grad = scratch + kLine * image_step;
    TileAt tile(a.t, first);
    for (int64_t t = 0; t < count; ++t, tile.Next(a.t)) {
      const TileImage d(a.t, a.image, tile);
      if (d.inside()) {
        SpreadImage<true>(a, line, d, t, scratch);
      } else {
        SpreadImage<false>(a, line, d, t, scratch);
      }
      SpreadGrad(a, line, tile, t, begin, end, grad);
    }
    for (int64_t f = 0; f < kLine; ++f) {
      float* const to = a.sums + (kLine * line + f) * plane;
      for (int64_t c = 0; c < row; c += kColumns) {
        const float* image = scratch + f * image_step + c * a.block;
        for (int64_t o = begin; o < end; o += kOutputs) {
          const int64_t at = o - begin;
          const float* from = grad + f * grad_step + at / kLanes * kLanes * a.block + at % kLanes;
          Products(image, from, count, to + o * row + c, row, first == 0);
        }
      }
    }
  }

  static void Sums(const WinogradGradArgs& a, int64_t line, int64_t last, int64_t begin,
                   int64_t end, float* scratch) {
    const int64_t tiles = a.t.n * a.t.tiles[0] * a.t.tiles[1];
    for (int64_t first = 0; first < tiles; first += a.block) {
      const int64_t count = tiles - first < a.block ? tiles - first : a.block;
      // All lines while the block's places are in cache.
      for (int64_t i = line; i < last; ++i) {
        SumLine(a, static_cast<int>(i), first, count, begin, end, scratch);
      }
    }
  }

  // G' S G.
  static void Kernel(const WinogradGradArgs& a, int64_t begin, int64_t end) {
    const int64_t row = RoundUp(a.t.k, kColumns), plane = RoundUp(a.o, kLanes) * row;
    for (int64_t o = begin; o < end; ++o) {
      for (int64_t c = 0; c < a.t.k; c += kLanes) {
        const float* from = a.sums + o * row + c;
        V half[3][4];
        for (int j = 0; j < 4; ++j) {
          const V s1 = LoadVec<V>(from + (4 + j) * plane), s2 = LoadVec<V>(from + (8 + j) * plane);
          const V even = (s1 + s2) * V(0.5f);
          half[0][j] = LoadVec<V>(from + j * plane) + even;
          half[1][j] = (s1 - s2) * V(0.5f);
          half[2][j] = LoadVec<V>(from + (12 + j) * plane) + even;
        }
        float* to = a.kernel + o * 9 * a.t.k + c;
        for (int i = 0; i < 3; ++i, to += 3 * a.t.k) {
          const V even = (half[i][1] + half[i][2]) * V(0.5f);
          StoreVec(to, a.t.k - c, half[i][0] + even);
          StoreVec(to + a.t.k, a.t.k - c, (half[i][1] - half[i][2]) * V(0.5f));
          StoreVec(to + 2 * a.t.k, a.t.k - c, half[i][3] + even);
        }
      }
    }
  }
};

constexpr WinogradTable MakeWinogradTable() {
  return {Winograd::kLanes,    Winograd::kColumns,   Winograd::kRows, &Winograd::PanelFloats,
          &Winograd::Scratch,  &Winograd::Pack,      &Winograd::Run,  &WinogradGrad::Scratch,
          &WinogradGrad::Sums, &WinogradGrad::Kernel};
}

}  // namespace OSTRIA_ISA_NS
}  // namespace simd
}  // namespace ostria
