// SPDX-License-Identifier: Apache-2.0
// Copies between strided blocks: transpose, broadcast, slice, concat and pad are all this. Prepare
// collapses the shape and picks the inner loop once; Run does no look-up and no allocation.
#pragma once

#include <cstdint>
#include <span>

#include "core/shape.h"

namespace ostria::cpu {

/// Plain data: what RunCopy needs.
struct CopyProgram {
  enum class Inner : uint8_t { kBytes, kFill, kGeneral, kTranspose };
  Inner inner = Inner::kBytes;
  int element_bytes = 1;
  int rank = 0;                                                          // of the outer loop
  int64_t sizes[kMaxRank] = {}, src[kMaxRank] = {}, dst[kMaxRank] = {};  // outer; strides in bytes
  int64_t items = 0, grain = 1;  // iterations of the outer loop; as many are worth a thread
  int64_t n = 0, src_step = 0, dst_step = 0;  // the inner row: kBytes counts bytes
  // kTranspose: rows that are adjacent in src and dst_row bytes apart in dst, cut in panels.
  int64_t rows = 0, panels = 1, dst_row = 0;
};

/// `element_bytes` is 1, 2, 4 or 8; strides in elements, negative ones allowed, source strides may
/// be 0. Different elements of the target must not overlap.
CopyProgram PrepareCopy(int64_t element_bytes, std::span<const int64_t> sizes,
                        std::span<const int64_t> src_strides, std::span<const int64_t> dst_strides);
/// `src` and `dst` point at the first element of each block; the blocks must not overlap.
void RunCopy(const CopyProgram& program, const void* src, void* dst);

/// `n` elements of the value at `value`.
void FillElements(void* dst, const void* value, int64_t element_bytes, int64_t n);

}  // namespace ostria::cpu
