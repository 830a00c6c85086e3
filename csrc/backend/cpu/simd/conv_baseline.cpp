// SPDX-License-Identifier: Apache-2.0
// Our convolution loops, compiled for one instruction set (flags: csrc/backend/CMakeLists.txt).
#define OSTRIA_SIMD_ISA 0
#include "backend/cpu/simd/conv_impl.h"

namespace ostria {

constinit const ConvTable kConvBaseline = simd::MakeConvTable();

}  // namespace ostria
