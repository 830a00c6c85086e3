// SPDX-License-Identifier: Apache-2.0
// Interpolation along one axis as a banded matrix: every new element is a weighted sum of a few
// neighbouring old ones.
#pragma once

#include <string>
#include <vector>

#include "ops/common/infer.h"

namespace ostria::ops {

enum class Interpolation { kNearest, kBilinear, kBicubic };

/// Whether the name is one of "nearest", "bilinear", "bicubic"; sets `method` to it.
bool ParseInterpolation(const std::string& name, Interpolation* method);

/// Row i of the matrix: `count[i]` weights from column `first[i]` on, at weights[i * width].
struct Taps {
  std::vector<int64_t> first, count;
  int64_t width = 1;
  std::vector<double> weights;
  /// How many weights there are.
  int64_t total() const;
};

/// The matrix [to, from] of a linear or cubic interpolation between the centres of pixels. What
/// lies outside does not count, so every row is divided by its sum.
Taps InterpolationTaps(Interpolation method, int64_t from, int64_t to);
/// The transpose of a matrix with `columns` columns.
Taps Transposed(const Taps& taps, int64_t columns);

/// resample's attributes.
struct ResampleAttr {
  enum : int { kAxis, kSize, kMethod, kTranspose };
};
/// The matrix of a resample from `from` elements.
Taps TapsOf(std::span<const Attr> attrs, int64_t from);

}  // namespace ostria::ops
