// SPDX-License-Identifier: Apache-2.0
// The pools, compiled for one instruction set (flags: csrc/backend/CMakeLists.txt).
#define OSTRIA_SIMD_ISA 0
#include "backend/cpu/simd/pool_impl.h"

namespace ostria {

constinit const PoolTable kPoolBaseline = simd::MakePoolTable();

}  // namespace ostria
