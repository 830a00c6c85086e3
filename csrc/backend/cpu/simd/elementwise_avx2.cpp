// SPDX-License-Identifier: Apache-2.0
// The elementwise loops, compiled for one instruction set (flags: csrc/backend/CMakeLists.txt).
#define OSTRIA_SIMD_ISA 1
#include "backend/cpu/simd/elementwise_impl.h"

namespace ostria {

constinit const ElementwiseTable kElementwiseAvx2 = simd::MakeElementwiseTable();

}  // namespace ostria
