// SPDX-License-Identifier: Apache-2.0
// The pools, compiled for one instruction set (flags: csrc/backend/CMakeLists.txt).
#define OSTRIA_SIMD_ISA 2
#include "backend/cpu/simd/pool_impl.h"

namespace ostria {

constinit const PoolTable kPoolAvx512 = simd::MakePoolTable();

}  // namespace ostria
