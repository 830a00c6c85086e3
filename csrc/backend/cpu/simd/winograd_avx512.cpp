// SPDX-License-Identifier: Apache-2.0
// Winograd's convolution, compiled for one instruction set (flags: csrc/backend/CMakeLists.txt).
#define OSTRIA_SIMD_ISA 2
#include "backend/cpu/simd/winograd_grad_impl.h"

namespace ostria {

constinit const WinogradTable kWinogradAvx512 = simd::MakeWinogradTable();

}  // namespace ostria
