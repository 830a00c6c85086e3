// SPDX-License-Identifier: Apache-2.0
// A dense result in which the elements of src stand at every `step`-th place of a window, and one
// value everywhere else: pad and the gradient of slice. Or, where an axis wraps, in which they are
// moved on along it: roll. Every place is written once, by one kernel.
#pragma once

#include "kernels/common/layout.h"
#include "kernels/shape/copy_strided.h"

namespace ostria::kernels {

struct WindowAxis {
  int64_t size = 1;        // of dst
  int64_t low = 0;         // the place of src's first element
  int64_t step = 1;        // between places, 1 or more
  int64_t extent = 1;      // elements of src
  int64_t src_stride = 0;  // in units
  int64_t wraps = 0;       // 1: what lies beyond the end comes in at the front
  Divisor by_size, by_step;
};
OSTRIA_LAYOUT(WindowAxis, 64, size, low, step, extent, src_stride, wraps, by_size, by_step);

struct WindowParams {
  const void* src = nullptr;
  void* dst = nullptr;
  int64_t src_offset = 0;  // bytes: where the first element of the window lies
  int64_t units = 0;       // of dst
  int32_t unit_bytes = 1;
  int32_t rank = 0;
  int64_t wide = 0;   // 1: indices need 64 bits
  uint64_t fill = 0;  // one element, repeated to 8 bytes
  WindowAxis axes[kMaxCopyAxes];
};
OSTRIA_LAYOUT(WindowParams, 56 + 64 * kMaxCopyAxes, src, dst, src_offset, units, unit_bytes, rank,
              wide, fill, axes);

/// Whether nothing of the axis is left out or moved: it may be one with the axis before it.
inline bool IsWhole(const WindowAxis& a) { return a.low == 0 && a.step == 1 && a.extent == a.size; }

/// Adds the next axis, outermost first; strides in elements.
inline void AddAxis(WindowParams* p, const WindowAxis& a) {
  if (a.size == 1 && IsWhole(a)) return;
  if (p->rank > 0) {
    WindowAxis& before = p->axes[p->rank - 1];
    const bool follows = before.src_stride == a.src_stride * a.size;
    if (IsWhole(a) && before.step == 1 && follows) {
      before.size *= a.size;
      before.low *= a.size;
      before.extent *= a.size;
      before.src_stride = a.src_stride;
      return;
    }
  }
  p->axes[p->rank++] = a;
}

/// Sets the addresses, and the largest unit that they, the window and the strides allow. Elements
/// are p->unit_bytes long before.
inline void SetWindowAddresses(WindowParams* p, const void* src, void* dst) {
  p->src = src;
  p->dst = dst;
  if (p->rank == 0) p->axes[p->rank++] = {.src_stride = 1};
  WindowAxis& last = p->axes[p->rank - 1];
  const int from = p->unit_bytes;
  int unit = from;
  if (last.src_stride == 1 && last.step == 1) {
    int64_t bits = (last.size | last.low | last.extent) * from;
    for (int i = 0; i + 1 < p->rank; ++i) bits |= p->axes[i].src_stride * from;
    bits |= static_cast<int64_t>(
        (reinterpret_cast<uintptr_t>(src) + static_cast<uintptr_t>(p->src_offset)) |
        reinterpret_cast<uintptr_t>(dst));
    unit = UnitDividing(bits);
  }
  last.size = last.size * from / unit;
  last.low = last.low * from / unit;
  last.extent = last.extent * from / unit;
  p->units = p->units * from / unit;
  p->unit_bytes = unit;
  int64_t reach = 0;
  for (int i = 0; i < p->rank; ++i) {
    WindowAxis& a = p->axes[i];
    if (i + 1 < p->rank) a.src_stride = a.src_stride * from / unit;
    reach += (a.extent - 1) * (a.src_stride < 0 ? -a.src_stride : a.src_stride);
  }
  constexpr int64_t kNarrow = int64_t{1} << 31;
  p->wide = p->units >= kNarrow || reach >= kNarrow;
  for (int i = 0; i < p->rank; ++i) {
    // A step beyond the axis reaches nothing after the first element.
    p->wide = p->wide != 0 || p->axes[i].step >= kNarrow;
  }
  for (int i = 0; i < p->rank && p->wide == 0; ++i) {
    p->axes[i].by_size = Divisor::Of(p->axes[i].size < 1 ? 1 : p->axes[i].size);
    p->axes[i].by_step = Divisor::Of(p->axes[i].step);
  }
}

}  // namespace ostria::kernels
