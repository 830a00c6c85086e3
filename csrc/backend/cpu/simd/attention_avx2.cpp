// SPDX-License-Identifier: Apache-2.0
// Attention in blocks, compiled for one instruction set (flags: csrc/backend/CMakeLists.txt).
#define OSTRIA_SIMD_ISA 1
#include "backend/cpu/simd/attention_impl.h"

namespace ostria {

constinit const AttentionTable kAttentionAvx2 = simd::MakeAttentionTable();

}  // namespace ostria
