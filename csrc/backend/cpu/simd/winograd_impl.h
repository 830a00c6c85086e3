// SPDX-License-Identifier: Apache-2.0
// Winograd's convolution of winograd_table.h, compiled once per instruction set.
#pragma once

#include "backend/cpu/simd/pack.h"
#include "backend/cpu/simd/winograd_table.h"
#include "kernels/scalar/functors.h"

namespace ostria {
namespace simd {
inline namespace OSTRIA_ISA_NS {

using kernels::Functor;
using kernels::ScalarOp;

// Where a tile is.
struct TileAt {
  int64_t n, y, x;  // x and y in tiles

  OSTRIA_FN TileAt(const WinogradTiles& t, int64_t tile)
      : n(tile / (t.tiles[0] * t.tiles[1])),
        y(tile / t.tiles[1] % t.tiles[0]),
        x(tile % t.tiles[1]) {}
  OSTRIA_FN void Next(const WinogradTiles& t) {
    if (++x < t.tiles[1]) return;
    x = 0;
    if (++y < t.tiles[0]) return;
    y = 0;
    ++n;
  }
};

// The 4 x 4 image places that a tile sees.
struct TileImage {
  const float* at;     // the first place; may lie outside of memory where a place is not inside
  int64_t row, step;   // to the next row and column
  int64_t y, x, h, w;  // where the tile begins, and the image's size

  OSTRIA_FN TileImage(const WinogradTiles& t, const float* image, const TileAt& tile)
      : step(t.k), y(2 * tile.y - t.low[0]), x(2 * tile.x - t.low[1]), h(t.from[0]), w(t.from[1]) {
    row = w * step;
    at = image + ((tile.n * h + y) * w + x) * step;
  }
  OSTRIA_FN bool inside() const { return y >= 0 && x >= 0 && y + 4 <= h && x + 4 <= w; }
  template <class V, bool kInside>
  OSTRIA_FN V Load(int64_t i, int64_t j, int64_t c, int64_t some) const {
    if (!kInside && (y + i < 0 || y + i >= h || x + j < 0 || x + j >= w)) return V(0.f);
    return LoadVecUpTo<V>(at + i * row + j * step + c, some);
  }
};

// One line of B' d, d a column of four.
template <class V>
OSTRIA_FN V ImageLine(int line, V d0, V d1, V d2, V d3) {
  switch (line) {
    case 0: return d0 - d2;
    case 1: return d1 + d2;
    case 2: return d2 - d1;
    default: return d1 - d3;
  }
}

struct Winograd {
  using V = VecF32;
  static constexpr int64_t kLanes = kLanesOf<V>;
  // kRows x kVecs sums stay in registers, with kVecs vectors of the kernel and one element.
  static constexpr int64_t kRows = kLanes == 16 ? 12 : 4;
  static constexpr int kVecs = kLanes == 16 ? 2 : 3;
  static constexpr int64_t kColumns = kVecs * kLanes;
  // Channels whose frequencies lie together: a distance between tiles that is known here.
  static constexpr int64_t kChunk = 64;
  // Between frequencies: one line more than a whole number, or all of them meet in one cache set.
  static constexpr int64_t kSkew = 16;

  static int64_t ImageStep(int64_t k, int64_t block) {
    return (k + kChunk - 1) / kChunk * block * kChunk + kSkew;
  }
  static int64_t SumStep(int64_t block) { return block * kColumns + kSkew; }
  // Of the packed kernel.
  static int64_t KernelStep(int64_t k) { return k * kColumns + kSkew; }
  static int64_t PanelFloats(int64_t k) { return kFrequencies * KernelStep(k); }
  static int64_t Scratch(int64_t k, int64_t block) {
    return kFrequencies * (ImageStep(k, block) + SumStep(block));
  }

  // --- the kernel ------------------------------------------------------------------------------

  // G g G' of one vector: `tap` (line, column) to `put` (frequency, value).
  template <class Tap, class Put>
  static OSTRIA_FN void Spread(Tap tap, Put put) {
    V half[4][3];  // G g
    for (int j = 0; j < 3; ++j) {
      const V a = tap(0, j), b = tap(1, j), c = tap(2, j), even = (a + c) * V(0.5f);
      half[0][j] = a;
      half[1][j] = Fma(b, V(0.5f), even);
      half[2][j] = Fma(b, V(-0.5f), even);
      half[3][j] = c;
    }
    for (int i = 0; i < 4; ++i) {
      const V even = (half[i][0] + half[i][2]) * V(0.5f);
      put(4 * i, half[i][0]);
      put(4 * i + 1, Fma(half[i][1], V(0.5f), even));
      put(4 * i + 2, Fma(half[i][1], V(-0.5f), even));
      put(4 * i + 3, half[i][2]);
    }
  }

  static void PackForward(const WinogradKernelArgs& a, int64_t first, float* to) {
    constexpr int64_t kBlock = 16;  // channels turned at once
    const int64_t apart = KernelStep(a.k);
    float turned[9][kBlock][kColumns];
    const int64_t columns = a.width - first < kColumns ? a.width - first : kColumns;
    if (columns < kColumns) __builtin_memset(turned, 0, sizeof(turned));
    for (int64_t k0 = 0; k0 < a.k; k0 += kBlock) {
      const int64_t some = a.k - k0 < kBlock ? a.k - k0 : kBlock;
      for (int64_t o = 0; o < columns; ++o) {
        for (int64_t e = 0; e < 9; ++e) {
          const float* from = a.kernel + ((first + o) * 9 + e) * a.k + k0;
          for (int64_t k = 0; k < some; ++k) turned[e][k][o] = from[k];
        }
      }
      for (int64_t k = 0; k < some; ++k) {
        for (int64_t v = 0; v < kColumns; v += kLanes) {
          Spread([&](int i, int j) { return LoadVec<V>(&turned[3 * i + j][k][v]); },
                 [&](int64_t f, V x) { Store(to + f * apart + (k0 + k) * kColumns + v, x); });
        }
      }
    }
  }

  static void PackBackward(const WinogradKernelArgs& a, int64_t first, float* to) {
    const int64_t apart = KernelStep(a.k);
    for (int64_t k = 0; k < a.k; ++k) {
      for (int64_t v = 0; v < kColumns; v += kLanes) {
        const int64_t some = a.width - first - v;
        const float* from = a.kernel + k * 9 * a.width + first + v;
        const auto tap = [&](int i, int j) {
          const int64_t e = 8 - (3 * i + j);
          return some > 0 ? LoadVecUpTo<V>(from + e * a.width, some) : V(0.f);
        };
        Spread(tap, [&](int64_t f, V x) { Store(to + f * apart + k * kColumns + v, x); });
      }
    }
  }

  static void Pack(const WinogradKernelArgs& a, int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel) {
      float* to = a.packed + panel * PanelFloats(a.k);
      if (a.backward) {
        PackBackward(a, panel * kColumns, to);
      } else {
        PackForward(a, panel * kColumns, to);
      }
    }
  }

  // --- the image -------------------------------------------------------------------------------

  // B' d B of one tile and vector of channels, each frequency `apart` from the last.
  template <bool kInside>
  static OSTRIA_FN void SpreadImage(const TileImage& d, int64_t c, int64_t some, float* to,
                                    int64_t apart) {
    V half[4][4];
    for (int j = 0; j < 4; ++j) {
      const V d0 = d.Load<V, kInside>(0, j, c, some), d1 = d.Load<V, kInside>(1, j, c, some),
              d2 = d.Load<V, kInside>(2, j, c, some), d3 = d.Load<V, kInside>(3, j, c, some);
      for (int i = 0; i < 4; ++i) half[i][j] = ImageLine(i, d0, d1, d2, d3);
    }
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < 4; ++j, to += apart) {
        Store(to, ImageLine(j, half[i][0], half[i][1], half[i][2], half[i][3]));
      }
    }
  }

  // --- products --------------------------------------------------------------------------------

  // Sums of kCount tiles and one panel, for one frequency.
  template <int kCount>
  static void Products(const float* image, int64_t chunk_step, const float* kernel, int64_t k,
                       float* sums) {
    V acc[kCount][kVecs];
    for (int r = 0; r < kCount; ++r) {
      for (int v = 0; v < kVecs; ++v) acc[r][v] = V(0.f);
    }
    for (; k > 0; k -= kChunk, image += chunk_step) {
      const int64_t some = k < kChunk ? k : kChunk;
      for (int64_t c = 0; c < some; ++c, kernel += kColumns) {
        V weight[kVecs];
        for (int v = 0; v < kVecs; ++v) weight[v] = LoadVec<V>(kernel + v * kLanes);
        for (int r = 0; r < kCount; ++r) {
          const V value = V(image[r * kChunk + c]);
          for (int v = 0; v < kVecs; ++v) acc[r][v] = Fma(value, weight[v], acc[r][v]);
        }
      }
    }
    for (int r = 0; r < kCount; ++r) {
      for (int v = 0; v < kVecs; ++v) Store(sums + r * kColumns + v * kLanes, acc[r][v]);
    }
  }

  using ProductsOf = void (*)(const float*, int64_t, const float*, int64_t, float*);
  static ProductsOf ProductsFor(int64_t rows) {
    switch (rows) {
      case 1: return &Products<1>;
      case 2: return &Products<2>;
      case 3: return &Products<3>;
#if OSTRIA_SIMD_ISA == 2
      case 4: return &Products<4>;
      case 5: return &Products<5>;
      case 6: return &Products<6>;
      case 7: return &Products<7>;
      case 8: return &Products<8>;
      case 9: return &Products<9>;
      case 10: return &Products<10>;
      case 11: return &Products<11>;
#endif
      default: return &Products<kRows>;
    }
  }

  // --- the result ------------------------------------------------------------------------------

  static void Finish(const WinogradArgs& a, const TileAt& tile, const float* sums, int64_t apart,
                     int64_t column) {
    const WinogradTiles& t = a.t;
    const int64_t y = 2 * tile.y, x = 2 * tile.x;
    const int64_t first = ((tile.n * t.to[0] + y) * t.to[1] + x) * a.width + column;
    for (int v = 0; v < kVecs; ++v) {
      const int64_t some = a.width - column - v * kLanes;
      if (some <= 0) break;
      const float* in = sums + v * kLanes;
      V half[2][4];  // A' m
      for (int j = 0; j < 4; ++j) {
        const V m1 = LoadVec<V>(in + (4 + j) * apart), m2 = LoadVec<V>(in + (8 + j) * apart);
        half[0][j] = LoadVec<V>(in + j * apart) + m1 + m2;
        half[1][j] = m1 - m2 - LoadVec<V>(in + (12 + j) * apart);
      }
      const V bias =
          a.bias == nullptr ? V(0.f) : LoadVecUpTo<V>(a.bias + column + v * kLanes, some);
      for (int i = 0; i < 2 && y + i < t.to[0]; ++i) {
        const V both[2] = {half[i][0] + half[i][1] + half[i][2],
                           half[i][1] - half[i][2] - half[i][3]};
        for (int j = 0; j < 2 && x + j < t.to[1]; ++j) {
          const int64_t at = first + (i * t.to[1] + j) * a.width + v * kLanes;
          V value = both[j] + bias;
          if (a.addend != nullptr) value = value + LoadVecUpTo<V>(a.addend + at, some);
          if (a.relu) value = Functor<ScalarOp::kRelu>::Call(value);
          StoreVec(a.out + at, some, value);
        }
      }
    }
  }

  static void RunBlock(const WinogradArgs& a, int64_t first, int64_t count, float* scratch) {
    const int64_t k = a.t.k, apart = ImageStep(k, a.block), sum_apart = SumStep(a.block);
    float* const sums = scratch + kFrequencies * apart;
    TileAt tile(a.t, first);
    for (int64_t t = 0; t < count; ++t, tile.Next(a.t)) {
      const TileImage d(a.t, a.source, tile);
      const bool inside = d.inside();
      for (int64_t c = 0; c < k; c += kLanes) {
        float* to = scratch + (c / kChunk * a.block + t) * kChunk + c % kChunk;
        if (inside) {
          SpreadImage<true>(d, c, k - c, to, apart);
        } else {
          SpreadImage<false>(d, c, k - c, to, apart);
        }
      }
    }
    // Tiles in even groups: a short last one would leave registers without work.
    const int64_t groups = (count + kRows - 1) / kRows;
    for (int64_t column = 0; column < a.width; column += kColumns) {
      const float* panel = a.packed + column / kColumns * PanelFloats(k);
      for (int64_t f = 0; f < kFrequencies; ++f) {
        for (int64_t g = 0; g < groups; ++g) {
          const int64_t t = count * g / groups, rows = count * (g + 1) / groups - t;
          ProductsFor(rows)(scratch + f * apart + t * kChunk, a.block * kChunk,
                            panel + f * KernelStep(k), k, sums + f * sum_apart + t * kColumns);
        }
      }
      TileAt to(a.t, first);
      for (int64_t t = 0; t < count; ++t, to.Next(a.t)) {
        Finish(a, to, sums + t * kColumns, sum_apart, column);
      }
    }
  }

  static void Run(const WinogradArgs& a, int64_t begin, int64_t end, float* scratch) {
    const int64_t blocks = (end - begin + a.block - 1) / a.block;
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t first = begin + (end - begin) * b / blocks;
      RunBlock(a, first, begin + (end - begin) * (b + 1) / blocks - first, scratch);
    }
  }
};

}  // namespace OSTRIA_ISA_NS
}  // namespace simd
}  // namespace ostria
