// SPDX-License-Identifier: Apache-2.0
// Our own convolution loops over images with channels last, one table per instruction set;
// conv_tiles.cpp adds threads. Plain data only: files built with AVX flags include it.
#pragma once

#include <cstdint>

namespace ostria {

/// kernel[o, i, j, c] = sum over n, y, x of grad[n, y, x, o] image[n, y', x', c], where
/// y' = y stride[0] - low[0] + i dilation[0], and x' likewise; what lies outside the image is
/// skipped. Images are summed up in blocks, and the sums of blocks in order, so a kernel element
/// depends on sizes alone.
struct FilterGradArgs {
  const float* image;  // [n, size[0], size[1], c]
  const float* grad;   // [n, result[0], result[1], o]
  float* kernel;       // [o, window[0], window[1], c]
  int64_t n, c, o;
  int64_t size[2], result[2], window[2], stride[2], dilation[2], low[2];
  /// A block: so many images, or fewer than an image has result lines of one image.
  int64_t block_images, block_lines;
};

/// A convolution or its gradient by the image, as sums over places: out[n, p, :] = sum over the
/// window's elements e of source[n, p(e), :] kernel_e, where places outside are skipped. Forward,
/// p(e) = p stride - low + e dilation, source is the image and kernel_e is [source, out] channels;
/// backward, p = p(e) stride - low + e dilation, source is the result's gradient.
struct PlacesArgs {
  const float* source;  // [n, from[0], from[1], k]
  const float* kernel;  // [o, window[0], window[1], c]: k is c forward and o backward
  float* out;           // [n, to[0], to[1], width]
  float* packed;        // [groups of images][from places][k][images of a group], from pack_places
  int64_t n, k, width;
  int64_t from[2], to[2], window[2], stride[2], dilation[2], low[2];
  bool backward;
};

struct ConvTable {
  int64_t lanes;    // channels of the image that one vector holds
  int64_t outputs;  // channels of the result that stay in registers
  /// The kernel's lines `begin` to `end` of [output blocks, window[0]]. `scratch` holds
  /// chunk x image lines of a block, then grad of a block for the output blocks of these lines.
  void (*filter_grad)(const FilterGradArgs&, int64_t begin, int64_t end, float* scratch);
  int64_t images, columns;  // of out that stay in registers, all at one place
  /// Packs the places `begin` to `end` of [groups, from[0], from[1]].
  void (*pack_places)(const PlacesArgs&, int64_t begin, int64_t end);
  /// The units `begin` to `end` of [blocks of columns, groups]; `scratch`: window[1] x k x columns.
  void (*places)(const PlacesArgs&, int64_t begin, int64_t end, float* scratch);
};

/// Channels of the image that are packed at once.
inline constexpr int64_t kConvChunk = 64;

extern const ConvTable kConvBaseline, kConvAvx2, kConvAvx512;

}  // namespace ostria
