// SPDX-License-Identifier: Apache-2.0
// Convolutions with windows of 3 x 3, stride 1, by Winograd's minimal filtering F(2 x 2, 3 x 3):
// "Fast Algorithms for Convolutional Neural Networks", Lavin and Gray, 2016. One table per
// instruction set; conv_winograd.cpp adds threads. Plain data only: files built with AVX flags
// include it.
//
// A tile is 2 x 2 results, or the 4 x 4 image places that they see. With the paper's matrices,
//   result = A' [sum over channels of (G kernel G') * (B' image B)] A
// where * multiplies 4 x 4 = 16 elements, called frequencies: per frequency the tiles of a block
// and all channels are a matrix product, of 16 products instead of 36. B and A only add, G halves
// exactly: the result is as accurate as direct sums are, which add up more terms.
#pragma once

#include <cstdint>

namespace ostria {

inline constexpr int64_t kFrequencies = 16;

/// What both directions know. Tiles are counted over [n, tiles[0], tiles[1]].
struct WinogradTiles {
  int64_t n, k;  // images; channels of `from`
  int64_t from[2], to[2], low[2], tiles[2];
};

/// out = source convolved with a kernel: forward; by the image, then source is the gradient of the
/// result, low is 2 - low, and the kernel is turned by half a turn.
struct WinogradArgs {
  WinogradTiles t;
  const float* source;  // [n, from[0], from[1], k]
  const float* packed;  // the kernel, from pack: [panels][frequency][k][columns]
  const float* bias;    // [width], or null
  const float* addend;  // as out, or null: may be out
  float* out;           // [n, to[0], to[1], width]
  int64_t width;
  int64_t block;  // tiles whose frequencies are in scratch at a time
  bool relu;
};

struct WinogradKernelArgs {
  const float* kernel;  // [o, 3, 3, c]
  float* packed;
  int64_t k, width;  // forward c and o, backward o and c
  bool backward;
};

/// The gradient by the kernel, in frequencies: A gradient A' and B' image B, products summed up
/// over tiles, in blocks and their order; then G' sum G.
struct WinogradGradArgs {
  WinogradTiles t;     // of the image; `to` is the result
  const float* image;  // [n, from[0], from[1], k]
  const float* grad;   // [n, to[0], to[1], o]
  float* sums;         // [frequency][outputs, whole vectors][channels, whole pairs of vectors]
  float* kernel;       // [o, 3, 3, k]
  int64_t o, block;
};

struct WinogradTable {
  int64_t lanes;    // 1: none of these functions is there
  int64_t columns;  // of a panel of the packed kernel
  int64_t rows;     // tiles that stay in registers

  /// Floats of a panel of the packed kernel.
  int64_t (*panel)(int64_t k);
  /// Floats of scratch for a block of tiles.
  int64_t (*scratch)(int64_t k, int64_t block);
  /// The panels `begin` to `end`.
  void (*pack)(const WinogradKernelArgs&, int64_t begin, int64_t end);
  /// The tiles `begin` to `end`.
  void (*run)(const WinogradArgs&, int64_t begin, int64_t end, float* scratch);

  int64_t (*grad_scratch)(int64_t k, int64_t outputs, int64_t block);
  /// Of the lines `line` to `last` of four frequencies, the outputs `begin` to `end`, whole
  /// vectors.
  void (*grad_sums)(const WinogradGradArgs&, int64_t line, int64_t last, int64_t begin, int64_t end,
                    float* scratch);
  /// The kernel's outputs `begin` to `end` from the sums.
  void (*grad_kernel)(const WinogradGradArgs&, int64_t begin, int64_t end);
};

extern const WinogradTable kWinogradBaseline, kWinogradAvx2, kWinogradAvx512;

}  // namespace ostria
