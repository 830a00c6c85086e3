// SPDX-License-Identifier: Apache-2.0
// A copy between two strided layouts of the same sizes: slices, transposes, broadcasts, tiles and
// flips. Elements move as units of 1 to 16 bytes, whatever their type: the largest that both
// layouts allow. The plan is made on the host, here, where tests reach it.
#pragma once

#include "kernels/common/divide.h"
#include "kernels/common/layout.h"

namespace ostria::kernels {

inline constexpr int kMaxCopyAxes = 8;

struct StridedCopyParams {
  const void* src = nullptr;
  void* dst = nullptr;
  int64_t src_offset = 0;  // bytes: where index 0 of every axis lies
  int64_t units = 0;
  int32_t unit_bytes = 1;
  int32_t rank = 1;
  int64_t wide = 0;  // 1: indices need 64 bits
  int64_t sizes[kMaxCopyAxes] = {1};
  int64_t src_strides[kMaxCopyAxes] = {}, dst_strides[kMaxCopyAxes] = {};  // in units
  Divisor divisors[kMaxCopyAxes] = {};
};
OSTRIA_LAYOUT(StridedCopyParams, 48 + 32 * kMaxCopyAxes, src, dst, src_offset, units, unit_bytes,
              rank, wide, sizes, src_strides, dst_strides, divisors);

/// The largest unit of at most 16 bytes that divides all of `bytes`, the bits of strides and
/// addresses put together by `|`.
inline int UnitDividing(int64_t bytes) {
  int unit = 16;
  while (bytes % unit != 0) unit /= 2;
  return unit;
}

/// Axes of a copy, outermost first, before it is made a plan.
struct CopyAxes {
  static constexpr int kMost = 2 * kMaxCopyAxes;
  int rank = 0;
  int64_t sizes[kMost] = {}, src[kMost] = {}, dst[kMost] = {};  // strides in elements

  void Add(int64_t size, int64_t src_stride, int64_t dst_stride) {
    sizes[rank] = size;
    src[rank] = src_stride;
    dst[rank++] = dst_stride;
  }
};

/// Whether `axes` fit a plan: at most kMaxCopyAxes are left when those that follow each other in
/// both layouts are one. Fills `p` but for the addresses.
inline bool PlanCopy(const CopyAxes& axes, int element_bytes, StridedCopyParams* p) {
  CopyAxes a;
  int64_t n = 1;
  for (int i = 0; i < axes.rank; ++i) {
    const int64_t size = axes.sizes[i];
    n *= size;
    if (size == 1) continue;
    const int last = a.rank - 1;
    if (last >= 0 && a.src[last] == axes.src[i] * size && a.dst[last] == axes.dst[i] * size) {
      a.sizes[last] *= size;
      a.src[last] = axes.src[i];
      a.dst[last] = axes.dst[i];
    } else {
      a.Add(size, axes.src[i], axes.dst[i]);
    }
  }
  if (a.rank == 0) a.Add(n, 1, 1);
  if (n > 0 && a.rank > kMaxCopyAxes) return false;
  *p = {};
  p->rank = n > 0 ? a.rank : 1;
  p->unit_bytes = element_bytes;
  p->units = n;
  for (int i = 0; i < p->rank; ++i) {
    p->sizes[i] = a.sizes[i];
    p->src_strides[i] = a.src[i];
    p->dst_strides[i] = a.dst[i];
  }
  return true;
}

/// Changes the unit from what `p` has to `bytes`: at launch too, when addresses are known. The
/// innermost axis is contiguous on both sides unless the unit stays.
inline void SetUnit(StridedCopyParams* p, int bytes) {
  const int last = p->rank - 1, from = p->unit_bytes;
  p->units = p->units * from / bytes;
  for (int i = 0; i < last; ++i) {
    p->src_strides[i] = p->src_strides[i] * from / bytes;
    p->dst_strides[i] = p->dst_strides[i] * from / bytes;
  }
  p->sizes[last] = p->sizes[last] * from / bytes;
  p->unit_bytes = bytes;
  int64_t src_reach = 0, dst_reach = 0;
  for (int i = 0; i <= last; ++i) {
    const int64_t most = p->sizes[i] - 1, src = p->src_strides[i], dst = p->dst_strides[i];
    src_reach += most * (src < 0 ? -src : src);
    dst_reach += most * (dst < 0 ? -dst : dst);
  }
  // The loop over the grid steps beyond the last unit: leave room below 2^32.
  constexpr int64_t kNarrow = int64_t{1} << 31;
  p->wide = p->units >= kNarrow || src_reach >= kNarrow || dst_reach >= kNarrow;
  for (int i = 0; i <= last && p->wide == 0; ++i) {
    p->divisors[i] = Divisor::Of(p->sizes[i] < 1 ? 1 : p->sizes[i]);
  }
}

/// Sets the addresses, and the largest unit that they and the strides allow.
inline void SetCopyAddresses(StridedCopyParams* p, const void* src, void* dst) {
  p->src = src;
  p->dst = dst;
  const int last = p->rank - 1;
  int unit = p->unit_bytes;
  if (p->src_strides[last] == 1 && p->dst_strides[last] == 1) {
    int64_t bits = p->sizes[last] * unit;
    for (int i = 0; i < last; ++i) bits |= p->src_strides[i] * unit | p->dst_strides[i] * unit;
    bits |= static_cast<int64_t>(
        (reinterpret_cast<uintptr_t>(src) + static_cast<uintptr_t>(p->src_offset)) |
        reinterpret_cast<uintptr_t>(dst));
    unit = UnitDividing(bits);
  }
  SetUnit(p, unit);
}

}  // namespace ostria::kernels
