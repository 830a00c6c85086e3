// SPDX-License-Identifier: Apache-2.0
// Indices of rows, as operands hold them: negative ones count from the end. One that is out of
// range is reported, and counts as the nearest that is not.
#pragma once

#include "kernels/common/data_error.h"
#include "kernels/common/kernel.h"
#include "kernels/common/layout.h"

namespace ostria::kernels {

struct IndexLaw {
  int64_t size = 0;          // of the axis they count along
  int32_t wide = 0;          // int64 rather than int32
  int32_t from_the_end = 1;  // whether negative ones are good
};
OSTRIA_LAYOUT(IndexLaw, 16, size, wide, from_the_end);

#if defined(OSTRIA_KERNEL_CODE)
/// Index `i` as it stands there.
OSTRIA_DEVICE int64_t RawIndex(const void* indices, int64_t i, const IndexLaw& law) {
  return law.wide != 0 ? static_cast<const int64_t*>(indices)[i]
                       : static_cast<const int32_t*>(indices)[i];
}
/// What it counts as, in [0, size); 0 where the axis is empty.
OSTRIA_DEVICE int64_t PlaceOf(int64_t at, const IndexLaw& law, DataErrorWord* data_error,
                              int32_t step) {
  const int64_t low = law.from_the_end != 0 ? -law.size : 0;
  if (at >= low && at < law.size) return at < 0 ? at + law.size : at;
  ReportDataError(data_error, step, at, low, law.size);
  return at < 0 || law.size == 0 ? 0 : law.size - 1;
}
/// Both.
OSTRIA_DEVICE int64_t IndexAt(const void* indices, int64_t i, const IndexLaw& law,
                              DataErrorWord* data_error, int32_t step) {
  return PlaceOf(RawIndex(indices, i, law), law, data_error, step);
}
#endif

}  // namespace ostria::kernels
