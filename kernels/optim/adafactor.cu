// SPDX-License-Identifier: Apache-2.0
#include "kernels/optim/adafactor.h"

#include "kernels/common/block_reduce.h"
#include "kernels/optim/update_impl.h"

namespace ostria::kernels {
namespace {

struct AdafactorNumbers {
  enum { kRate, kForget, kEpsilon1, kEpsilon2, kClip };
  OSTRIA_DEVICE static void Constants(const double* attrs, double lr, double step, double* c) {
    const double cap = 1 / Sqrt(step);
    c[kRate] = lr < cap ? lr : cap;
    c[kForget] = __builtin_pow(step, attrs[0]);
    c[kEpsilon1] = attrs[1], c[kEpsilon2] = attrs[2], c[kClip] = attrs[3];
  }
};

OSTRIA_DEVICE double SquareOf(double g, const UpdateNumbers& n) {
  const double d = g * n.grad_scale;
  return d * d + n.c[AdafactorNumbers::kEpsilon1];
}
template <class T>
OSTRIA_DEVICE void MoveMoment(T* moment, double now, const UpdateNumbers& n) {
  const double old = static_cast<double>(*moment);
  *moment = static_cast<T>(old + (now - old) * n.c[AdafactorNumbers::kForget]);
}

/// Calls fn(segment, number of the unit within it) for those of this block or warp.
template <class Fn>
OSTRIA_DEVICE void ForUnits(const AdafactorParams& p, int64_t AdafactorSegment::*first,
                            int64_t units, int64_t unit, int64_t each, Fn fn) {
  int at = 0;
  for (; unit < units; unit += each) {
    while (at + 1 < p.count && p.segments[at + 1].*first <= unit) ++at;
    fn(p.segments[at], unit - p.segments[at].*first);
  }
}

OSTRIA_DEVICE int64_t PiecesOf(const AdafactorSegment& s) {
  return (s.rows + kAdafactorRows - 1) / kAdafactorRows;
}

/// A warp for each row.
template <class T>
OSTRIA_DEVICE void Rows(const AdafactorParams& p) {
  if (!*p.scalars.commit) return;
  const UpdateNumbers& numbers = NumbersOf<AdafactorNumbers>(p.scalars);
  const LaneGroups warps(32);
  ForUnits(p, &AdafactorSegment::first_row, p.rows, warps.first, warps.count,
           [&](const AdafactorSegment& s, int64_t row) {
             const T* const g = static_cast<const T*>(s.g) + row * s.cols;
             double sum = 0;
             for (int64_t i = warps.lane; i < s.cols; i += 32) sum += SquareOf(g[i], numbers);
             sum = WarpSum(sum);
             if (warps.lane == 0) {
               MoveMoment(static_cast<T*>(s.r) + row, sum / static_cast<double>(s.cols), numbers);
             }
           });
}

/// A block for each piece of rows and some columns of a matrix.
template <class T>
OSTRIA_DEVICE void ColumnSums(const AdafactorParams& p) {
  if (!*p.scalars.commit) return;
  OSTRIA_SHARED(double, sums, kUpdateThreads);
  const UpdateNumbers& numbers = NumbersOf<AdafactorNumbers>(p.scalars);
  constexpr int kLanes = kAdafactorColumns;
  const int lane = threadIdx.x % kLanes, row_lane = threadIdx.x / kLanes;
  const int row_lanes = blockDim.x / kLanes;
  ForUnits(p, &AdafactorSegment::first_block, p.blocks, blockIdx.x, gridDim.x,
           [&](const AdafactorSegment& s, int64_t unit) {
             const int64_t tiles = (s.cols + kLanes - 1) / kLanes, rest = unit / tiles;
             const int64_t column = (unit - rest * tiles) * kLanes + lane;
             const int64_t matrix = rest / PiecesOf(s), piece = rest - matrix * PiecesOf(s);
             const T* const g = static_cast<const T*>(s.g) + matrix * s.rows * s.cols;
             const int64_t end = min(s.rows, (piece + 1) * kAdafactorRows);
             double sum = 0;
             for (int64_t row = piece * kAdafactorRows + row_lane; column < s.cols && row < end;
                  row += row_lanes) {
               sum += SquareOf(g[row * s.cols + column], numbers);
             }
             __syncthreads();  // the sums before are read
             sums[threadIdx.x] = sum;
             __syncthreads();
             if (row_lane != 0 || column >= s.cols) return;
             for (int other = 1; other < row_lanes; ++other) sum += sums[other * kLanes + lane];
             p.sums[s.first_sum + rest * s.cols + column] = sum;
           });
}

/// A warp for each column of a matrix, and one for the mean of its moments of rows.
template <class T>
OSTRIA_DEVICE void Means(const AdafactorParams& p) {
  if (!*p.scalars.commit) return;
  const UpdateNumbers& numbers = NumbersOf<AdafactorNumbers>(p.scalars);
  const LaneGroups warps(32);
  ForUnits(p, &AdafactorSegment::first_mean, p.mean_units, warps.first, warps.count,
           [&](const AdafactorSegment& s, int64_t unit) {
             const int64_t matrix = unit / (s.cols + 1), column = unit - matrix * (s.cols + 1);
             const bool of_rows = column == s.cols;
             const int64_t count = of_rows ? s.rows : PiecesOf(s);
             const T* const r = static_cast<const T*>(s.r) + matrix * s.rows;
             const double* const sums =
                 p.sums + s.first_sum + matrix * PiecesOf(s) * s.cols + column;
             double sum = 0;
             for (int64_t i = warps.lane; i < count; i += 32) {
               sum += of_rows ? static_cast<double>(r[i]) : sums[i * s.cols];
             }
             sum = WarpSum(sum) / static_cast<double>(s.rows);
             if (warps.lane != 0) return;
             if (of_rows) {
               p.means[s.first_matrix + matrix] = sum;
             } else {
               MoveMoment(static_cast<T*>(s.c) + matrix * s.cols + column, sum, numbers);
             }
           });
}

/// The move of element i before its rate.
template <class T>
OSTRIA_DEVICE T MoveOf(const AdafactorParams& p, const AdafactorSegment& s, T scale, int64_t i) {
  const T g = static_cast<const T*>(s.g)[i] * scale;
  const T* const r = static_cast<const T*>(s.r);
  if (s.rows == 0) return g / Sqrt(r[i]);
  const int64_t row =
      i < INT32_MAX ? static_cast<uint32_t>(i) / static_cast<uint32_t>(s.cols) : i / s.cols;
  const int64_t matrix = s.count == 1 ? 0 : row / s.rows;
  const T share = static_cast<T>(static_cast<double>(r[row]) / p.means[s.first_matrix + matrix]);
  const T of_column = static_cast<const T*>(s.c)[matrix * s.cols + i - row * s.cols];
  return g / Sqrt(share * of_column);
}

OSTRIA_DEVICE int64_t SizeOf(const AdafactorSegment& s) {
  return s.rows == 0 ? s.cols : s.count * s.rows * s.cols;
}

template <class T>
OSTRIA_DEVICE void Squares(const AdafactorParams& p) {
  if (!*p.scalars.commit) return;
  const UpdateNumbers& numbers = NumbersOf<AdafactorNumbers>(p.scalars);
  const T keep = Of<T>(numbers.keep), scale = Of<T>(numbers.grad_scale);
  ForUnits(p, &AdafactorSegment::first_tile, p.tiles, blockIdx.x, gridDim.x,
           [&](const AdafactorSegment& s, int64_t tile) {
             const int64_t begin = tile * kUpdateTile, end = min(SizeOf(s), begin + kUpdateTile);
             double squares_w = 0, squares_move = 0;
             for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
               if (s.rows == 0) {
                 const double g = static_cast<const T*>(s.g)[i];
                 MoveMoment(static_cast<T*>(s.r) + i, SquareOf(g, numbers), numbers);
               }
               const double kept = static_cast<const T*>(s.w)[i] * keep;
               const double move = MoveOf<T>(p, s, scale, i);
               squares_w += kept * kept;
               squares_move += move * move;
             }
             squares_w = BlockSum(squares_w);
             squares_move = BlockSum(squares_move);
             if (threadIdx.x != 0) return;
             p.parts[2 * (s.first_tile + tile)] = squares_w;
             p.parts[2 * (s.first_tile + tile) + 1] = squares_move;
           });
}

/// A block for each segment.
OSTRIA_DEVICE void Rate(const AdafactorParams& p) {
  if (!*p.scalars.commit) return;
  const UpdateNumbers& numbers = NumbersOf<AdafactorNumbers>(p.scalars);
  const AdafactorSegment& s = p.segments[blockIdx.x];
  const double n = static_cast<double>(SizeOf(s));
  const int64_t end = s.first_tile + (SizeOf(s) + kUpdateTile - 1) / kUpdateTile;
  double squares_w = 0, squares_move = 0;
  for (int64_t tile = s.first_tile + threadIdx.x; tile < end; tile += blockDim.x) {
    squares_w += p.parts[2 * tile];
    squares_move += p.parts[2 * tile + 1];
  }
  const double rms_w = Sqrt(BlockSum(squares_w) / n), rms_move = Sqrt(BlockSum(squares_move) / n);
  if (threadIdx.x != 0) return;
  const double clip = Max(rms_move / numbers.c[AdafactorNumbers::kClip], 1.0);
  const double size = Max(rms_w, numbers.c[AdafactorNumbers::kEpsilon2]);
  p.rates[blockIdx.x] = size * numbers.c[AdafactorNumbers::kRate] / clip;
}

template <class T>
OSTRIA_DEVICE void MoveWeights(const AdafactorParams& p) {
  if (!*p.scalars.commit) return;
  const UpdateNumbers& numbers = NumbersOf<AdafactorNumbers>(p.scalars);
  const T keep = Of<T>(numbers.keep), scale = Of<T>(numbers.grad_scale);
  ForUnits(p, &AdafactorSegment::first_tile, p.tiles, blockIdx.x, gridDim.x,
           [&](const AdafactorSegment& s, int64_t tile) {
             const T rate = Of<T>(p.rates[&s - p.segments]);
             const int64_t begin = tile * kUpdateTile, end = min(SizeOf(s), begin + kUpdateTile);
             T* const w = static_cast<T*>(s.w);
             for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
               w[i] = w[i] * keep - rate * MoveOf<T>(p, s, scale, i);
             }
           });
}

}  // namespace

#define OSTRIA_ADAFACTOR(suffix, T)                                                                \
  OSTRIA_KERNEL(adafactor_rows_update_##suffix, AdafactorParams, kUpdateThreads) { Rows<T>(p); }   \
  OSTRIA_KERNEL(adafactor_columns_update_##suffix, AdafactorParams, kUpdateThreads) {              \
    ColumnSums<T>(p);                                                                              \
  }                                                                                                \
  OSTRIA_KERNEL(adafactor_means_update_##suffix, AdafactorParams, kUpdateThreads) { Means<T>(p); } \
  OSTRIA_KERNEL(adafactor_squares_update_##suffix, AdafactorParams, kUpdateThreads) {              \
    Squares<T>(p);                                                                                 \
  }                                                                                                \
  OSTRIA_KERNEL(adafactor_rate_update_##suffix, AdafactorParams, kUpdateThreads) { Rate(p); }      \
  OSTRIA_KERNEL(adafactor_move_update_##suffix, AdafactorParams, kUpdateThreads) {                 \
    MoveWeights<T>(p);                                                                             \
  }
OSTRIA_ADAFACTOR(f32, float)
OSTRIA_ADAFACTOR(f64, double)

}  // namespace ostria::kernels
