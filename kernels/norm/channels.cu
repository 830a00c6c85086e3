// SPDX-License-Identifier: Apache-2.0
// Statistics are means and sums of squared distances, merged pairwise (Chan, Golub and LeVeque
// 1979), which loses nothing where the mean is large. Each thread takes a vector of columns, or as
// many columns that lie apart where rows do not begin at boundaries of vectors.
#include "kernels/norm/channels.h"

#include "kernels/common/block_reduce.h"
#include "kernels/common/vec.h"
#include "kernels/scalar/primitives.h"

namespace ostria::kernels {
namespace {

/// The mean of n numbers, and the sum of their squared distances to it.
template <class C>
struct Moments {
  C n, mean, squares;

  OSTRIA_DEVICE Moments Merged(const Moments& b) const {
    const C all = n + b.n, share = all > C(0) ? b.n / all : C(0), d = b.mean - mean;
    return {all, mean + d * share, squares + b.squares + d * d * n * share};
  }
};

/// The part of [examples, rows, cols] that a block takes: `rows` rows from `row` on, and of each
/// the columns from `column` on.
template <class T>
struct Piece {
  static constexpr int kColumns = kVector<T>;  // of a thread
  int64_t example, piece, row, rows, column;

  OSTRIA_DEVICE static int64_t Tiles(const ChannelNormParams& p) {
    return (p.cols + p.lanes * kColumns - 1) / (p.lanes * kColumns);
  }
  OSTRIA_DEVICE Piece(const ChannelNormParams& p, int64_t unit) {
    const int64_t tiles = Tiles(p), rest = unit / tiles;
    column = (unit - rest * tiles) * p.lanes * kColumns;
    example = rest / p.pieces;
    piece = rest - example * p.pieces;
    row = piece * p.piece_rows;
    rows = min(p.piece_rows, p.rows - row);
  }
  OSTRIA_DEVICE static int64_t Count(const ChannelNormParams& p) {
    return Tiles(p) * p.pieces * p.examples;
  }
};

/// The columns of a thread: `first` and those after it, or every p.lanes-th.
template <class T, bool kVectors>
struct Columns {
  static constexpr int kCount = kVector<T>;
  int64_t first, cols;
  int lanes;

  OSTRIA_DEVICE Columns(const ChannelNormParams& p, int64_t column, int lane)
      : first(column + (kVectors ? lane * kCount : lane)), cols(p.cols), lanes(p.lanes) {}
  OSTRIA_DEVICE int64_t At(int k) const { return first + (kVectors ? k : k * lanes); }
  OSTRIA_DEVICE bool Has(int k) const { return At(k) < cols; }
  OSTRIA_DEVICE void Load(const T* row, Compute<T> (&x)[kCount]) const {
    if constexpr (kVectors) {
      if (first < cols) LoadVector(row + first, x);
    } else {
      for (int k = 0; k < kCount; ++k) x[k] = Has(k) ? kernels::Load(row + At(k)) : Compute<T>(0);
    }
  }
  OSTRIA_DEVICE void Store(T* row, const Compute<T> (&x)[kCount]) const {
    if constexpr (kVectors) {
      if (first < cols) StoreVector(row + first, x);
    } else {
      for (int k = 0; k < kCount; ++k) {
        if (Has(k)) kernels::Store(row + At(k), x[k]);
      }
    }
  }
};

/// Calls fn(piece, columns, row lane, row lanes) for the pieces of this block.
template <class T, bool kVectors, class Fn>
OSTRIA_DEVICE void ForPiecesAs(const ChannelNormParams& p, Fn fn) {
  const int shift = __ffs(p.lanes) - 1, lane = static_cast<int>(threadIdx.x) & (p.lanes - 1);
  const int row_lane = static_cast<int>(threadIdx.x) >> shift;
  const int row_lanes = static_cast<int>(blockDim.x) >> shift;
  for (int64_t unit = blockIdx.x; unit < Piece<T>::Count(p); unit += gridDim.x) {
    const Piece<T> piece(p, unit);
    fn(piece, Columns<T, kVectors>(p, piece.column, lane), row_lane, row_lanes);
  }
}
template <class T, class Fn>
OSTRIA_DEVICE void ForPieces(const ChannelNormParams& p, Fn fn) {
  const unsigned skew = SkewOf(p.x) | SkewOf(p.g) | SkewOf(p.y);
  if (p.cols % kVector<T> == 0 && skew == 0) {
    ForPiecesAs<T, true>(p, fn);
  } else {
    ForPiecesAs<T, false>(p, fn);
  }
}

/// The example's group that column c is in.
OSTRIA_DEVICE int64_t GroupOf(const ChannelNormParams& p, int64_t example, int64_t c) {
  const int64_t group = p.groups == p.cols ? c : c / (p.cols / p.groups);
  return example * p.groups + group;
}

template <class T>
OSTRIA_DEVICE Compute<T> RstdOf(const ChannelNormParams& p, int64_t group) {
  using C = Compute<T>;
  const C spread = Load(static_cast<const T*>(p.spread) + group);
  return p.is_rstd != 0 ? spread : C(1) / Sqrt(spread + static_cast<C>(p.epsilon));
}

/// One thread's two numbers of each column, merged over the row lanes of the block into the first.
template <class T, class Cols, class V, class Merge>
OSTRIA_DEVICE void MergeRowLanes(const ChannelNormParams& p, const Piece<T>& piece,
                                 const Cols& columns, int row_lane, int row_lanes,
                                 V (&mine)[Cols::kCount], Merge merge) {
  using C = Compute<T>;
  OSTRIA_SHARED(V, all, kChannelThreads);
  C* const partial = static_cast<C*>(p.partial);
  const int64_t second = p.examples * p.pieces * p.cols;
  for (int k = 0; k < Cols::kCount; ++k) {
    __syncthreads();  // the one before is read
    all[threadIdx.x] = mine[k];
    for (int half = row_lanes / 2; half > 0; half /= 2) {
      __syncthreads();
      if (row_lane < half) {
        all[threadIdx.x] = merge(all[threadIdx.x], all[threadIdx.x + half * p.lanes]);
      }
    }
    if (row_lane != 0 || !columns.Has(k)) continue;
    const int64_t at = (piece.example * p.pieces + piece.piece) * p.cols + columns.At(k);
    partial[at] = all[threadIdx.x].First();
    partial[second + at] = all[threadIdx.x].Second();
  }
}

template <class C>
struct StatsOf : Moments<C> {
  OSTRIA_DEVICE C First() const { return this->mean; }
  OSTRIA_DEVICE C Second() const { return this->squares; }
};
template <class C>
struct SumsOf {
  C a, b;
  OSTRIA_DEVICE C First() const { return a; }
  OSTRIA_DEVICE C Second() const { return b; }
};

template <class T>
OSTRIA_DEVICE void Stats(const ChannelNormParams& p) {
  using C = Compute<T>;
  ForPieces<T>(p, [&](const Piece<T>& piece, const auto& columns, int row_lane, int row_lanes) {
    constexpr int kColumns = Piece<T>::kColumns;
    C shift[kColumns] = {}, sums[kColumns] = {}, squares[kColumns] = {};
    C n = C(0);
    const T* const x = static_cast<const T*>(p.x) + (piece.example * p.rows + piece.row) * p.cols;
    for (int64_t row = row_lane; row < piece.rows; row += row_lanes) {
      C v[kColumns] = {};
      columns.Load(x + row * p.cols, v);
      for (int k = 0; k < kColumns; ++k) {
        if (row == row_lane) shift[k] = v[k];  // near the mean, whatever that is
        const C d = v[k] - shift[k];
        sums[k] += d;
        squares[k] += d * d;
      }
      n += C(1);
    }
    StatsOf<C> mine[kColumns] = {};
    for (int k = 0; k < kColumns; ++k) {
      const C d = n > C(0) ? sums[k] / n : C(0);
      mine[k].n = n;
      mine[k].mean = shift[k] + d;
      mine[k].squares = Max(squares[k] - d * sums[k], C(0));
    }
    MergeRowLanes<T>(
        p, piece, columns, row_lane, row_lanes, mine,
        [](const StatsOf<C>& a, const StatsOf<C>& b) { return StatsOf<C>{a.Merged(b)}; });
  });
}

/// A warp for every example and group.
template <class T>
OSTRIA_DEVICE void Finish(const ChannelNormParams& p) {
  using C = Compute<T>;
  const LaneGroups warps(32);
  const int64_t size = p.cols / p.groups, second = p.examples * p.pieces * p.cols;
  const C* const partial = static_cast<const C*>(p.partial);
  for (int64_t unit = warps.first; unit < p.examples * p.groups; unit += warps.count) {
    const int64_t example = unit / p.groups, begin = (unit - example * p.groups) * size;
    Moments<C> mine = {};
    for (int64_t i = warps.lane; i < p.pieces * size; i += 32) {
      const int64_t piece = i / size, column = begin + i - piece * size;
      const int64_t at = (example * p.pieces + piece) * p.cols + column;
      const int64_t rows = min(p.piece_rows, p.rows - piece * p.piece_rows);
      mine = mine.Merged({static_cast<C>(rows), partial[at], partial[second + at]});
    }
    for (int lanes = 16; lanes > 0; lanes /= 2) {
      const Moments<C> other{__shfl_down_sync(~0u, mine.n, lanes),
                             __shfl_down_sync(~0u, mine.mean, lanes),
                             __shfl_down_sync(~0u, mine.squares, lanes)};
      mine = mine.Merged(other);
    }
    if (warps.lane != 0) continue;
    const C var = mine.squares / mine.n, rstd = C(1) / Sqrt(var + static_cast<C>(p.epsilon));
    const C spread = p.is_rstd != 0 ? rstd : var;
    if (p.is_wide != 0) {
      static_cast<C*>(p.out_mean)[unit] = mine.mean;
      static_cast<C*>(p.out_spread)[unit] = spread;
    } else {
      Store(static_cast<T*>(p.out_mean) + unit, mine.mean);
      Store(static_cast<T*>(p.out_spread) + unit, spread);
    }
    C* const stats = static_cast<C*>(p.stats) + 2 * unit;
    stats[0] = mine.mean;
    stats[1] = rstd;
  }
}

template <class T>
OSTRIA_DEVICE void Apply(const ChannelNormParams& p) {
  using C = Compute<T>;
  ForPieces<T>(p, [&](const Piece<T>& piece, const auto& columns, int row_lane, int row_lanes) {
    constexpr int kColumns = Piece<T>::kColumns;
    C mean[kColumns] = {}, factor[kColumns] = {}, bias[kColumns] = {};
    for (int k = 0; k < kColumns; ++k) {
      if (!columns.Has(k)) continue;
      const int64_t c = columns.At(k), group = GroupOf(p, piece.example, c);
      C rstd;
      if (p.stats != nullptr) {
        mean[k] = static_cast<const C*>(p.stats)[2 * group];
        rstd = static_cast<const C*>(p.stats)[2 * group + 1];
      } else {
        mean[k] = Load(static_cast<const T*>(p.mean) + group);
        rstd = RstdOf<T>(p, group);
      }
      factor[k] = Load(static_cast<const T*>(p.scale) + c) * rstd;
      bias[k] = Load(static_cast<const T*>(p.bias) + c);
    }
    const int64_t begin = (piece.example * p.rows + piece.row) * p.cols;
    for (int64_t row = row_lane; row < piece.rows; row += row_lanes) {
      C v[kColumns] = {};
      columns.Load(static_cast<const T*>(p.x) + begin + row * p.cols, v);
      for (int k = 0; k < kColumns; ++k) v[k] = (v[k] - mean[k]) * factor[k] + bias[k];
      columns.Store(static_cast<T*>(p.y) + begin + row * p.cols, v);
    }
  });
}

/// Sums of g and of g (x - mean).
template <class T>
OSTRIA_DEVICE void GradSums(const ChannelNormParams& p) {
  using C = Compute<T>;
  ForPieces<T>(p, [&](const Piece<T>& piece, const auto& columns, int row_lane, int row_lanes) {
    constexpr int kColumns = Piece<T>::kColumns;
    C mean[kColumns] = {};
    for (int k = 0; k < kColumns; ++k) {
      if (!columns.Has(k)) continue;
      mean[k] = Load(static_cast<const T*>(p.mean) + GroupOf(p, piece.example, columns.At(k)));
    }
    SumsOf<C> mine[kColumns] = {};
    const int64_t begin = (piece.example * p.rows + piece.row) * p.cols;
    for (int64_t row = row_lane; row < piece.rows; row += row_lanes) {
      C g[kColumns] = {}, x[kColumns] = {};
      columns.Load(static_cast<const T*>(p.g) + begin + row * p.cols, g);
      columns.Load(static_cast<const T*>(p.x) + begin + row * p.cols, x);
      for (int k = 0; k < kColumns; ++k) {
        mine[k].a += g[k];
        mine[k].b += g[k] * (x[k] - mean[k]);
      }
    }
    MergeRowLanes<T>(p, piece, columns, row_lane, row_lanes, mine,
                     [](const SumsOf<C>& a, const SumsOf<C>& b) {
                       return SumsOf<C>{a.a + b.a, a.b + b.b};
                     });
  });
}

/// A warp for every example and group: the means of g scale and of g scale xhat. Then a warp for
/// every column: the gradients of scale and bias.
template <class T>
OSTRIA_DEVICE void GradFinish(const ChannelNormParams& p) {
  using C = Compute<T>;
  const LaneGroups warps(32);
  const int64_t size = p.cols / p.groups, second = p.examples * p.pieces * p.cols;
  const int64_t units = p.examples * p.groups;
  const C* const partial = static_cast<const C*>(p.partial);
  for (int64_t unit = warps.first; unit < units + p.cols; unit += warps.count) {
    const bool of_group = unit < units;
    SumsOf<C> mine = {};
    if (of_group) {
      const int64_t example = unit / p.groups, begin = (unit - example * p.groups) * size;
      for (int64_t i = warps.lane; i < p.pieces * size; i += 32) {
        const int64_t piece = i / size, column = begin + i - piece * size;
        const int64_t at = (example * p.pieces + piece) * p.cols + column;
        const C scale = Load(static_cast<const T*>(p.scale) + column);
        mine.a += scale * partial[at];
        mine.b += scale * partial[second + at];
      }
    } else {
      const int64_t column = unit - units;
      for (int64_t i = warps.lane; i < p.examples * p.pieces; i += 32) {
        const int64_t at = i * p.cols + column;
        mine.a += partial[at];
        mine.b += partial[second + at] * RstdOf<T>(p, GroupOf(p, i / p.pieces, column));
      }
    }
    const C a = WarpSum(mine.a), b = WarpSum(mine.b);
    if (warps.lane != 0) continue;
    if (of_group) {
      const C rstd = RstdOf<T>(p, unit), elements = static_cast<C>(p.rows * size);
      C* const stats = static_cast<C*>(p.stats) + 2 * unit;
      stats[0] = -rstd * a / elements;
      stats[1] = -rstd * rstd * rstd * b / elements;
    } else {
      Store(static_cast<T*>(p.dbias) + unit - units, a);
      Store(static_cast<T*>(p.dscale) + unit - units, b);
    }
  }
}

/// rstd (g scale - mean(g scale) - xhat mean(g scale xhat)).
template <class T>
OSTRIA_DEVICE void GradApply(const ChannelNormParams& p) {
  using C = Compute<T>;
  ForPieces<T>(p, [&](const Piece<T>& piece, const auto& columns, int row_lane, int row_lanes) {
    constexpr int kColumns = Piece<T>::kColumns;
    C mean[kColumns] = {}, of_g[kColumns] = {}, of_x[kColumns] = {}, constant[kColumns] = {};
    for (int k = 0; k < kColumns; ++k) {
      if (!columns.Has(k)) continue;
      const int64_t c = columns.At(k), group = GroupOf(p, piece.example, c);
      mean[k] = Load(static_cast<const T*>(p.mean) + group);
      of_g[k] = Load(static_cast<const T*>(p.scale) + c) * RstdOf<T>(p, group);
      constant[k] = static_cast<const C*>(p.stats)[2 * group];
      of_x[k] = static_cast<const C*>(p.stats)[2 * group + 1];
    }
    const int64_t begin = (piece.example * p.rows + piece.row) * p.cols;
    for (int64_t row = row_lane; row < piece.rows; row += row_lanes) {
      C g[kColumns] = {}, x[kColumns] = {};
      columns.Load(static_cast<const T*>(p.g) + begin + row * p.cols, g);
      columns.Load(static_cast<const T*>(p.x) + begin + row * p.cols, x);
      for (int k = 0; k < kColumns; ++k) {
        g[k] = g[k] * of_g[k] + (x[k] - mean[k]) * of_x[k] + constant[k];
      }
      columns.Store(static_cast<T*>(p.y) + begin + row * p.cols, g);
    }
  });
}

}  // namespace

#define OSTRIA_CHANNELS(suffix, T)                                                             \
  OSTRIA_KERNEL(channel_stats_##suffix, ChannelNormParams, kChannelThreads) { Stats<T>(p); }   \
  OSTRIA_KERNEL(channel_finish_##suffix, ChannelNormParams, kChannelThreads) { Finish<T>(p); } \
  OSTRIA_KERNEL(channel_apply_##suffix, ChannelNormParams, kChannelThreads) { Apply<T>(p); }   \
  OSTRIA_KERNEL(channel_grad_sums_##suffix, ChannelNormParams, kChannelThreads) {              \
    GradSums<T>(p);                                                                            \
  }                                                                                            \
  OSTRIA_KERNEL(channel_grad_finish_##suffix, ChannelNormParams, kChannelThreads) {            \
    GradFinish<T>(p);                                                                          \
  }                                                                                            \
  OSTRIA_KERNEL(channel_grad_apply_##suffix, ChannelNormParams, kChannelThreads) {             \
    GradApply<T>(p);                                                                           \
  }
OSTRIA_CHANNELS(f16, Float16)
OSTRIA_CHANNELS(bf16, BFloat16)
OSTRIA_CHANNELS(f32, float)
OSTRIA_CHANNELS(f64, double)

}  // namespace ostria::kernels
