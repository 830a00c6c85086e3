// SPDX-License-Identifier: Apache-2.0
// Moving elements: casts between any two dtypes, fills, and copies between strided layouts
// (transpose, slice, flip, broadcast, concat, pad are all one StridedCopy each). Threads above a
// work threshold.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace ostria {

/// Converts n dense elements; src and dst must not overlap unless equal with equal sizes. Float to
/// integer truncates toward zero, saturates, and maps NaN to 0; anything to bool is `!= 0` (NaN is
/// true); integer to integer wraps; float64 to a half type rounds through float32.
void Cast(DType from, const void* src, DType to, void* dst, int64_t n);

/// Writes one element of `size` bytes (1, 2, 4 or 8) n times.
void Fill(void* dst, const void* value, int size, int64_t n);

/// From this size on results of rows are stored past the caches.
inline constexpr int64_t kPastCachesBytes = 16 << 20;

inline constexpr int kMaxCopyRank = 8;

struct StridedCopyArgs {
  int element_size;  // 1, 2, 4 or 8 bytes
  int rank;          // at most 8
  const int64_t* sizes;
  const int64_t* src_strides;  // elements; 0 repeats, negative flips (src then points at index 0)
  const int64_t* dst_strides;  // elements; distinct indices must be distinct places
};

/// Collapsed and ordered dimensions; plain data.
struct StridedCopyProgram {
  int element_size = 0, rank = 0;
  int64_t sizes[kMaxCopyRank] = {}, src[kMaxCopyRank] = {}, dst[kMaxCopyRank] = {};
  int64_t numel = 0;
  bool transposes = false;  // dimension rank - 2 is contiguous in src, rank - 1 in dst
};
StridedCopyProgram PrepareStridedCopy(const StridedCopyArgs& args);
/// src and dst must not overlap.
void RunStridedCopy(const StridedCopyProgram& program, const void* src, void* dst);

}  // namespace ostria
