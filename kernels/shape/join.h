// SPDX-License-Identifier: Apache-2.0
// Rows of several tensors beside each other: concat, whatever its axis, since all axes after the
// joined one lie together in memory. One launch takes up to kMaxJoinParts tensors.
#pragma once

#include "kernels/common/layout.h"
#include "kernels/shape/copy_strided.h"

namespace ostria::kernels {

inline constexpr int kMaxJoinParts = 64;

struct JoinPart {
  const void* src = nullptr;
  int64_t end = 0;  // where it ends in a row of all parts, in units; the next one begins there
};
OSTRIA_LAYOUT(JoinPart, 16, src, end);

struct JoinParams {
  void* dst = nullptr;
  int64_t rows = 0, pitch = 0;  // pitch: between rows of dst, in units
  int32_t unit_bytes = 1;
  int32_t parts = 0;
  int64_t wide = 0;  // 1: indices need 64 bits
  Divisor by_row;
  JoinPart part[kMaxJoinParts];
};
OSTRIA_LAYOUT(JoinParams, 48 + 16 * kMaxJoinParts, dst, rows, pitch, unit_bytes, parts, wide,
              by_row, part);

/// Sets the unit, the largest that addresses and sizes allow. Those are of p->unit_bytes before.
inline void SetJoinUnit(JoinParams* p) {
  const int from = p->unit_bytes;
  int64_t bits = p->pitch * from | static_cast<int64_t>(reinterpret_cast<uintptr_t>(p->dst));
  for (int i = 0; i < p->parts; ++i) {
    bits |= p->part[i].end * from;
    // Nobody reads a part without elements.
    if (p->part[i].end == (i == 0 ? 0 : p->part[i - 1].end)) continue;
    bits |= static_cast<int64_t>(reinterpret_cast<uintptr_t>(p->part[i].src));
  }
  const int unit = UnitDividing(bits);
  p->pitch = p->pitch * from / unit;
  for (int i = 0; i < p->parts; ++i) p->part[i].end = p->part[i].end * from / unit;
  p->unit_bytes = unit;
  const int64_t row = p->parts == 0 ? 0 : p->part[p->parts - 1].end;
  p->wide = p->rows * p->pitch >= int64_t{1} << 31;
  if (p->wide == 0) p->by_row = Divisor::Of(row < 1 ? 1 : row);
}

}  // namespace ostria::kernels
