// SPDX-License-Identifier: Apache-2.0
// Our matrix products, compiled for one instruction set (flags: csrc/backend/CMakeLists.txt).
#define OSTRIA_SIMD_ISA 0
#include "backend/cpu/simd/gemm_impl.h"

namespace ostria {

constinit const GemmTable kGemmBaseline = simd::MakeGemmTable();

}  // namespace ostria
