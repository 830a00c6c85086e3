// SPDX-License-Identifier: Apache-2.0
// Our convolution loops, compiled for one instruction set (flags: csrc/backend/CMakeLists.txt).
#define OSTRIA_SIMD_ISA 2
#include "backend/cpu/simd/conv_impl.h"

namespace ostria {

constinit const ConvTable kConvAvx512 = simd::MakeConvTable();

}  // namespace ostria
