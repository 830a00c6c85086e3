// SPDX-License-Identifier: Apache-2.0
#include "kernels/rows/gather.h"

#include "kernels/common/lane_groups.h"
#include "kernels/common/vec.h"

namespace ostria::kernels {
namespace {

template <class Unit>
OSTRIA_DEVICE void Gather(const GatherParams& p) {
  const int64_t units = p.row / static_cast<int64_t>(sizeof(Unit));
  const LaneGroups groups(p.lanes);
  for (int64_t row = groups.first; row < p.rows; row += groups.count) {
    int64_t from = row;
    if (p.indices != nullptr) {
      const int64_t outer = p.rows == p.count ? 0 : row / p.count, at = row - outer * p.count;
      from = outer * p.law.size + IndexAt(p.indices, at, p.law, p.data_error, p.step);
    }
    const int64_t block = p.rows == p.block ? 0 : row / p.block;
    const auto* src = reinterpret_cast<const Unit*>(static_cast<const char*>(p.x) + from * p.row);
    auto* dst = reinterpret_cast<Unit*>(static_cast<char*>(p.y) + block * p.stride +
                                        (row - block * p.block) * p.row_step);
    for (int64_t i = groups.lane; i < units; i += p.lanes) dst[i] = src[i];
  }
}

// As 16-byte vectors where all rows begin at such boundaries and are whole numbers of them.
template <class Element>
OSTRIA_DEVICE void GatherWidest(const GatherParams& p) {
  const int64_t sizes = p.row | p.stride | p.row_step;
  if (sizes % 16 == 0 && SkewOf(p.x) == 0 && SkewOf(p.y) == 0) {
    Gather<uint4>(p);
  } else {
    Gather<Element>(p);
  }
}

}  // namespace

OSTRIA_KERNEL(gather_1, GatherParams, kGatherThreads) { GatherWidest<uint8_t>(p); }
OSTRIA_KERNEL(gather_2, GatherParams, kGatherThreads) { GatherWidest<uint16_t>(p); }
OSTRIA_KERNEL(gather_4, GatherParams, kGatherThreads) { GatherWidest<uint32_t>(p); }
OSTRIA_KERNEL(gather_8, GatherParams, kGatherThreads) { GatherWidest<uint64_t>(p); }

}  // namespace ostria::kernels
