// SPDX-License-Identifier: Apache-2.0
// The elementwise loops, compiled for one instruction set (flags: csrc/backend/CMakeLists.txt).
#define OSTRIA_SIMD_ISA 0
#include "backend/cpu/simd/elementwise_impl.h"
#include "core/dtype.h"

namespace ostria {

namespace {

template <class Half>
void FromHalf(const uint16_t* src, float* dst, int64_t n) {
  for (int64_t i = 0; i < n; ++i) dst[i] = static_cast<float>(std::bit_cast<Half>(src[i]));
}
template <class Half>
void ToHalf(const float* src, uint16_t* dst, int64_t n) {
  for (int64_t i = 0; i < n; ++i) dst[i] = Half(src[i]).bits;
}

constexpr ElementwiseTable MakeTable() {
  ElementwiseTable table = simd::MakeElementwiseTable();
  table.from_half[0] = &FromHalf<Float16>;
  table.from_half[1] = &FromHalf<BFloat16>;
  table.to_half[0] = &ToHalf<Float16>;
  table.to_half[1] = &ToHalf<BFloat16>;
  return table;
}

}  // namespace

constinit const ElementwiseTable kElementwiseBaseline = MakeTable();

}  // namespace ostria
