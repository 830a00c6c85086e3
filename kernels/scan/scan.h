// SPDX-License-Identifier: Apache-2.0
// Running along an axis: cumsum, cumprod, and y[k] = a[k] y[k-1] + b[k]. A tensor is seen as
// [outer, size, inner]. Columns and lines are walked in the order of the elements, as the CPU does;
// only sums over long axes are cut into chunks, of a size that depends on nothing. Floats
// accumulate one size up, integers are of 64 bits and wrap around.
#pragma once

#include "kernels/common/kernel.h"
#include "kernels/common/layout.h"

namespace ostria::kernels {

enum class ScanOp : int32_t { kSum, kProduct, kLinear };

struct ScanParams {
  const void* a = nullptr;
  const void* b = nullptr;  // ScanOp::kLinear only
  void* dst = nullptr;      // may be a or b
  int64_t outer = 1, size = 0, inner = 1;
  int32_t exclusive = 0, reverse = 0;
};
OSTRIA_LAYOUT(ScanParams, 56, a, b, dst, outer, size, inner, exclusive, reverse);

/// Threads of scan_columns_*, each of which walks a column; of scan_lines_*, whose warps walk 32
/// lines each, for inner == 1.
inline constexpr int kScanColumnThreads = 128, kScanLineThreads = 64;

/// Sums in three launches: of every chunk (scan_chunk_sums_*, a block each), of the chunks before
/// (scan_carries_*, a thread for each column), then every element (scan_chunks_*).
struct ScanChunksParams {
  const void* src = nullptr;
  void* dst = nullptr;      // may be src
  void* carries = nullptr;  // [outer * inner, chunks] of 8 bytes
  int64_t outer = 1, size = 0, inner = 1, chunks = 0;
  int32_t exclusive = 0, reverse = 0;
};
OSTRIA_LAYOUT(ScanChunksParams, 64, src, dst, carries, outer, size, inner, chunks, exclusive,
              reverse);
inline constexpr int kScanChunkThreads = 256, kScanChunkItems = 8;
inline constexpr int64_t kScanChunk = kScanChunkThreads * kScanChunkItems;

}  // namespace ostria::kernels
