// SPDX-License-Identifier: Apache-2.0
// Recurrences, compiled for one instruction set (flags: csrc/backend/CMakeLists.txt).
#define OSTRIA_SIMD_ISA 0
#include "backend/cpu/simd/recurrent_impl.h"

namespace ostria {

constinit const RecurrentTable kRecurrentBaseline = simd::MakeRecurrentTable();

}  // namespace ostria
