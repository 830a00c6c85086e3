// SPDX-License-Identifier: Apache-2.0
// The loops of conv_table.h, compiled once per instruction set.
#pragma once

#include "backend/cpu/simd/conv_places_impl.h"
#include "backend/cpu/simd/conv_table.h"
#include "backend/cpu/simd/pack.h"

namespace ostria {
namespace simd {
inline namespace OSTRIA_ISA_NS {

struct FilterGrad {
  using V = VecF32;
  static constexpr int64_t kLanes = kLanesOf<V>;
  // kOutputs x kTaps sums stay in registers, with kTaps vectors of the image and one of grad.
  static constexpr int64_t kOutputs = kLanes == 16 ? 8 : 4;
  static constexpr int kTaps = 3;

  // One block of images or lines, and where its packed copies are.
  struct Block {
    int64_t n, images;             // the first image, and how many
    int64_t line, lines;           // result lines of each
    int64_t image_line, in_lines;  // image lines of each that they may read
    float *image, *grad;
  };

  // [vectors of channels][image][line][column][kLanes], from channel c0 on.
  static void PackImage(const FilterGradArgs& a, const Block& b, int64_t c0, int64_t vectors) {
    const int64_t columns = b.in_lines * a.size[1], stripe = b.images * columns * kLanes;
    for (int64_t n = 0; n < b.images; ++n) {
      const float* from = a.image + ((b.n + n) * a.size[0] + b.image_line) * a.size[1] * a.c + c0;
      float* to = b.image + n * columns * kLanes;
      for (int64_t x = 0; x < columns; ++x, from += a.c, to += kLanes) {
        for (int64_t v = 0; v < vectors; ++v) {
          Store(to + v * stripe, LoadVecUpTo<V>(from + v * kLanes, a.c - c0 - v * kLanes));
        }
      }
    }
  }

  // [output blocks][image][line][column][kOutputs] for the blocks from `first` to `last`.
  static void PackGrad(const FilterGradArgs& a, const Block& b, int64_t first, int64_t last) {
    const int64_t columns = b.lines * a.result[1], stripe = b.images * columns * kOutputs;
    for (int64_t n = 0; n < b.images; ++n) {
      const float* from = a.grad + ((b.n + n) * a.result[0] + b.line) * a.result[1] * a.o;
      float* to = b.grad + n * columns * kOutputs;
      for (int64_t x = 0; x < columns; ++x, from += a.o, to += kOutputs) {
        for (int64_t block = first; block < last; ++block) {
          const float* in = from + block * kOutputs;
          float* out = to + (block - first) * stripe;
          const int64_t some = a.o - block * kOutputs;
          if (some >= kOutputs) {
            __builtin_memcpy(out, in, sizeof(float) * kOutputs);
          } else {
            for (int64_t o = 0; o < kOutputs; ++o) out[o] = o < some ? in[o] : 0.f;
          }
        }
      }
    }
  }

  // Places along one axis at which a window that starts `at` elements into the image sees it.
  struct Range {
    int64_t begin, end;
  };
  static OSTRIA_FN Range Inside(int64_t at, int64_t stride, int64_t size, int64_t begin,
                                int64_t end) {
    const int64_t low = at < 0 ? (-at + stride - 1) / stride : 0;
    const int64_t high = at < size ? (size - 1 - at) / stride + 1 : 0;
    begin = begin > low ? begin : low;
    end = end < high ? end : high;
    return {begin, end > begin ? end : begin};
  }

  // A register tile: kOutputs outputs x kVecs vectors, which are neighbouring elements of a kernel
  // line, or neighbouring channels of one element (`tap_step` 0).
  struct Tile {
    const float *image, *grad;  // packed; image: of the first vector's channels
    float* kernel;
    int64_t line;                               // of the kernel
    int64_t tap;                                // the first vector's
    int64_t tap_step, image_step, kernel_step;  // from one vector to the next
    int64_t outputs, channels;                  // how many are there
    bool first;                                 // kernel is written, else added to
  };

  template <int kVecs>
  static void RunTile(const FilterGradArgs& a, const Block& b, const Tile& t) {
    V acc[kOutputs][kVecs];
    for (int o = 0; o < kOutputs; ++o) {
      for (int j = 0; j < kVecs; ++j) acc[o][j] = V(0.f);
    }
    const int64_t at_line = t.line * a.dilation[0] - a.low[0];
    const int64_t at = t.tap * a.dilation[1] - a.low[1];
    const Range lines = Inside(at_line, a.stride[0], a.size[0], b.line, b.line + b.lines);
    Range columns[kVecs];
    Range whole{0, a.result[1]};  // all vectors see the image
    for (int j = 0; j < kVecs; ++j) {
      columns[j] =
          Inside(at + j * t.tap_step * a.dilation[1], a.stride[1], a.size[1], 0, a.result[1]);
      whole.begin = whole.begin > columns[j].begin ? whole.begin : columns[j].begin;
      whole.end = whole.end < columns[j].end ? whole.end : columns[j].end;
    }
    if (whole.end < whole.begin) whole.end = whole.begin;
    const int64_t step = a.stride[1] * kLanes;
    for (int64_t n = 0; n < b.images; ++n) {
      for (int64_t y = lines.begin; y < lines.end; ++y) {
        const int64_t in = y * a.stride[0] + at_line - b.image_line;
        const int64_t from = ((n * b.in_lines + in) * a.size[1] + at) * kLanes;
        const float* grad = t.grad + (n * b.lines + y - b.line) * a.result[1] * kOutputs;
        const auto edge = [&](int64_t begin, int64_t end) {
          for (int64_t x = begin; x < end; ++x) {
            for (int j = 0; j < kVecs; ++j) {
              if (x < columns[j].begin || x >= columns[j].end) continue;
              const V value = LoadVec<V>(t.image + from + x * step + j * t.image_step);
              for (int o = 0; o < kOutputs; ++o) {
                acc[o][j] = Fma(V(grad[x * kOutputs + o]), value, acc[o][j]);
              }
            }
          }
        };
        edge(0, whole.begin);
        const float* p = t.image + from + whole.begin * step;
        const float* g = grad + whole.begin * kOutputs;
        for (int64_t x = whole.begin; x < whole.end; ++x, p += step, g += kOutputs) {
          V value[kVecs];
          for (int j = 0; j < kVecs; ++j) value[j] = LoadVec<V>(p + j * t.image_step);
          for (int o = 0; o < kOutputs; ++o) {
            const V weight = V(g[o]);
            for (int j = 0; j < kVecs; ++j) acc[o][j] = Fma(weight, value[j], acc[o][j]);
          }
        }
        edge(whole.end, a.result[1]);
      }
    }
    const int64_t row = a.window[0] * a.window[1] * a.c;
    for (int o = 0; o < kOutputs; ++o) {
      if (o >= t.outputs) break;
      for (int j = 0; j < kVecs; ++j) {
        float* to = t.kernel + o * row + j * t.kernel_step;
        const int64_t some = t.channels - (t.tap_step == 0 ? j * kLanes : 0);
        StoreVec(to, some, t.first ? acc[o][j] : LoadVecUpTo<V>(to, some) + acc[o][j]);
      }
    }
  }

  static void RunTiles(const FilterGradArgs& a, const Block& b, Tile t, int64_t vecs) {
    switch (vecs) {
      case 1: return RunTile<1>(a, b, t);
      case 2: return RunTile<2>(a, b, t);
      default: return RunTile<3>(a, b, t);
    }
  }

  // Of `left` vectors, how many the next tile takes: a last one alone would wait for itself.
  static int64_t Next(int64_t left) { return left == 4 ? 2 : left < kTaps ? left : kTaps; }

  static void RunBlock(const FilterGradArgs& a, const Block& b, int64_t begin, int64_t end,
                       bool first) {
    const int64_t blocks = begin / a.window[0];
    PackGrad(a, b, blocks, (end - 1) / a.window[0] + 1);
    const int64_t grad_stripe = b.images * b.lines * a.result[1] * kOutputs;
    const int64_t image_stripe = b.images * b.in_lines * a.size[1] * kLanes;
    for (int64_t c0 = 0; c0 < a.c; c0 += kConvChunk) {
      const int64_t width = a.c - c0 < kConvChunk ? a.c - c0 : kConvChunk;
      const int64_t vectors = (width + kLanes - 1) / kLanes;
      PackImage(a, b, c0, vectors);
      for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t block = unit / a.window[0];
        Tile t;
        t.grad = b.grad + (block - blocks) * grad_stripe;
        t.line = unit % a.window[0];
        t.outputs = a.o - block * kOutputs;
        t.first = first;
        float* line = a.kernel + (block * kOutputs * a.window[0] + t.line) * a.window[1] * a.c + c0;
        const bool taps = a.window[1] > 1;
        t.tap_step = taps ? 1 : 0;
        t.image_step = taps ? a.dilation[1] * kLanes : image_stripe;
        t.kernel_step = taps ? a.c : kLanes;
        const int64_t outer = taps ? vectors : 1, inner = taps ? a.window[1] : vectors;
        for (int64_t i = 0; i < outer; ++i) {
          for (int64_t j = 0; j < inner;) {
            const int64_t vector = taps ? i : j, vecs = Next(inner - j);
            t.tap = taps ? j : 0;
            t.image = b.image + vector * image_stripe;
            t.kernel = line + t.tap * a.c + vector * kLanes;
            t.channels = width - vector * kLanes;
            RunTiles(a, b, t, vecs);
            j += vecs;
          }
        }
      }
    }
  }

  static void Run(const FilterGradArgs& a, int64_t begin, int64_t end, float* scratch) {
    bool first = true;
    for (int64_t n = 0; n < a.n; n += a.block_images) {
      for (int64_t line = 0; line < a.result[0]; line += a.block_lines) {
        Block b;
        b.n = n;
        b.images = a.n - n < a.block_images ? a.n - n : a.block_images;
        b.line = line;
        b.lines = a.result[0] - line < a.block_lines ? a.result[0] - line : a.block_lines;
        const int64_t low = line * a.stride[0] - a.low[0];
        const int64_t high =
            low + (b.lines - 1) * a.stride[0] + (a.window[0] - 1) * a.dilation[0] + 1;
        b.image_line = low < 0 ? 0 : low > a.size[0] ? a.size[0] : low;
        b.in_lines = (high > a.size[0] ? a.size[0] : high) - b.image_line;
        if (b.in_lines < 0) b.in_lines = 0;
        b.image = scratch;
        const int64_t width = a.c < kConvChunk ? (a.c + kLanes - 1) / kLanes * kLanes : kConvChunk;
        b.grad = scratch + b.images * b.in_lines * a.size[1] * width;
        RunBlock(a, b, begin, end, first);
        first = false;
      }
    }
  }
};

constexpr ConvTable MakeConvTable() {
  return {FilterGrad::kLanes, FilterGrad::kOutputs, &FilterGrad::Run, Places::kImages,
          Places::kColumns,   &Places::Pack,        &Places::Run};
}

}  // namespace OSTRIA_ISA_NS
}  // namespace simd
}  // namespace ostria
