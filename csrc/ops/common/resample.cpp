// SPDX-License-Identifier: Apache-2.0
#include "ops/common/resample.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace ostria::ops {
namespace {

// The weight of an element at distance t: a triangle, or Keys' cubic with a = -1/2.
double Weight(Interpolation method, double t) {
  t = std::abs(t);
  if (method == Interpolation::kBilinear) return std::max(0.0, 1 - t);
  if (t <= 1) return (1.5 * t - 2.5) * t * t + 1;
  return t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
}

}  // namespace

bool ParseInterpolation(const std::string& name, Interpolation* method) {
  static constexpr std::string_view kNames[] = {"nearest", "bilinear", "bicubic"};
  const auto* const at = std::find(std::begin(kNames), std::end(kNames), name);
  *method = static_cast<Interpolation>(at - std::begin(kNames));
  return at != std::end(kNames);
}

int64_t Taps::total() const { return std::accumulate(count.begin(), count.end(), int64_t{0}); }

Taps InterpolationTaps(Interpolation method, int64_t from, int64_t to) {
  const int64_t reach = method == Interpolation::kBilinear ? 1 : 2;
  Taps out;
  out.width = 2 * reach;
  out.weights.resize(to * out.width);
  for (int64_t i = 0; i < to; ++i) {
    const double step = static_cast<double>(from) / static_cast<double>(to);
    const double at = (static_cast<double>(i) + 0.5) * step - 0.5;
    const int64_t middle = static_cast<int64_t>(std::floor(at));
    int64_t first = std::max<int64_t>(0, middle - reach + 1);
    int64_t last = std::min(from - 1, middle + reach);
    const auto weight = [&](int64_t j) { return Weight(method, at - static_cast<double>(j)); };
    while (first < last && weight(first) == 0) ++first;
    while (last > first && weight(last) == 0) --last;
    double sum = 0;
    for (int64_t j = first; j <= last; ++j) sum += weight(j);
    for (int64_t j = first; j <= last; ++j) {
      out.weights[i * out.width + j - first] = weight(j) / sum;
    }
    out.first.push_back(first);
    out.count.push_back(last - first + 1);
  }
  return out;
}

Taps Transposed(const Taps& taps, int64_t columns) {
  const int64_t rows = static_cast<int64_t>(taps.first.size());
  Taps out;
  out.first.assign(columns, 0);
  out.count.assign(columns, 0);
  // Rows reach further and further, so those that see a column lie side by side, unless a weight
  // between them is zero: that counts as one.
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = taps.first[i]; j < taps.first[i] + taps.count[i]; ++j) {
      if (out.count[j] == 0) out.first[j] = i;
      out.count[j] = i - out.first[j] + 1;
    }
  }
  for (int64_t n : out.count) out.width = std::max(out.width, n);
  out.weights.resize(columns * out.width);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t t = 0; t < taps.count[i]; ++t) {
      const int64_t j = taps.first[i] + t;
      out.weights[j * out.width + i - out.first[j]] = taps.weights[i * taps.width + t];
    }
  }
  return out;
}

Taps TapsOf(std::span<const Attr> attrs, int64_t from) {
  Interpolation method;
  ParseInterpolation(std::get<std::string>(attrs[ResampleAttr::kMethod]), &method);
  const int64_t to = std::get<int64_t>(attrs[ResampleAttr::kSize]);
  if (!std::get<bool>(attrs[ResampleAttr::kTranspose])) {
    return InterpolationTaps(method, from, to);
  }
  return Transposed(InterpolationTaps(method, to, from), to);
}

}  // namespace ostria::ops
