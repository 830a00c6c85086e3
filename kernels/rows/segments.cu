// SPDX-License-Identifier: Apache-2.0
#include "kernels/rows/segments.h"

#include "kernels/common/lane_groups.h"
#include "kernels/common/vec.h"

namespace ostria::kernels {
namespace {

/// How many of the flags of threads before this one are set; `all` gets how many there are.
OSTRIA_DEVICE int FlagsBefore(bool flag, int* all) {
  OSTRIA_SHARED(int, counts, 32);
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const unsigned flags = __ballot_sync(~0u, flag);
  __syncthreads();  // an earlier call may still read
  if (lane == 0) counts[warp] = __popc(flags);
  __syncthreads();
  int before = __popc(flags & ((1u << lane) - 1)), sum = 0;
  for (unsigned w = 0; w < blockDim.x / 32; ++w) {
    if (w < warp) before += counts[w];
    sum += counts[w];
  }
  *all = sum;
  return before;
}

/// The sum from zero of the values at positions [begin, end) of the sorted list, in that order.
/// Loads go ahead of additions, which wait for each other.
template <class T>
OSTRIA_DEVICE T SumInOrder(const T* column, int64_t stride, int64_t first, const int32_t* positions,
                           int64_t begin, int64_t end) {
  constexpr int kAhead = 4;
  T sum = T(0);
  int64_t i = begin;
  for (; i + kAhead <= end; i += kAhead) {
    T x[kAhead];
    for (int k = 0; k < kAhead; ++k) x[k] = column[(positions[i + k] - first) * stride];
    for (int k = 0; k < kAhead; ++k) sum = sum + x[k];
  }
  for (; i < end; ++i) sum = sum + column[(positions[i] - first) * stride];
  return sum;
}

template <class T>
OSTRIA_DEVICE void RowSums(const RowSumsParams& p) {
  const RowSumsTable& t = p.tables[blockIdx.y];
  const int32_t* const positions = p.positions + t.number * p.n;
  const int32_t* const starts = p.starts + t.number * (p.n + 2);
  const int64_t count = starts[0];
  const LaneGroups groups(t.lanes);
  for (int64_t row = groups.first; row < p.n; row += groups.count) {
    T* const sums = static_cast<T*>(t.sums) + row * t.cols;
    const int64_t begin = row < count ? starts[1 + row] : 0;
    const int64_t end = row < count ? starts[2 + row] : 0;
    for (int64_t c = groups.lane; c < t.cols; c += t.lanes) {
      T sum = T(0);
      int64_t at = begin;
      for (int part = t.first_part; at < end; ++part) {
        const RowSumsPart& values = p.parts[part];
        int64_t stop = at;
        while (stop < end && positions[stop] < values.end) ++stop;
        if (stop == at) continue;
        const T one = SumInOrder(static_cast<const T*>(values.values) + values.column + c,
                                 values.stride, values.begin, positions, at, stop);
        sum = at == begin ? one : sum + one;
        at = stop;
      }
      sums[c] = sum;
    }
  }
}

}  // namespace

OSTRIA_KERNEL(row_keys, RowKeysParams, kSegmentThreads) {
  const RowKeysPart& part = p.parts[blockIdx.y];
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < part.count;
       i += int64_t{gridDim.x} * blockDim.x) {
    p.keys[part.dst + i] =
        static_cast<uint32_t>(IndexAt(part.indices, i, part.law, p.data_error, p.step));
  }
}

OSTRIA_KERNEL(row_starts, RowStartsParams, kScanThreads) {
  const uint32_t* const keys = p.keys + blockIdx.x * p.n;
  int32_t* const starts = p.starts + blockIdx.x * (p.n + 2);
  int32_t* const rows = p.rows + p.dst[blockIdx.x];
  int count = 0;
  for (int64_t tile = 0; tile < p.n; tile += blockDim.x) {
    const int64_t i = tile + threadIdx.x;
    const bool begins = i < p.n && (i == 0 || keys[i] != keys[i - 1]);
    int all = 0;
    const int at = count + FlagsBefore(begins, &all);
    if (begins) {
      starts[1 + at] = static_cast<int32_t>(i);
      rows[1 + at] = static_cast<int32_t>(keys[i]);
    }
    count += all;
  }
  if (threadIdx.x == 0) {
    starts[0] = rows[0] = count;
    starts[1 + count] = static_cast<int32_t>(p.n);
  }
  for (int64_t i = count + threadIdx.x; i < p.n; i += blockDim.x) rows[1 + i] = 0;
}

OSTRIA_KERNEL(row_sums_f32, RowSumsParams, kSegmentThreads) { RowSums<float>(p); }
OSTRIA_KERNEL(row_sums_f64, RowSumsParams, kSegmentThreads) { RowSums<double>(p); }

}  // namespace ostria::kernels
