// SPDX-License-Identifier: Apache-2.0
// Batch normalisation, compiled for one instruction set (flags: csrc/backend/CMakeLists.txt).
#define OSTRIA_SIMD_ISA 2
#include "backend/cpu/simd/batch_norm_impl.h"

namespace ostria {

constinit const BatchNormTable kBatchNormAvx512 = simd::MakeBatchNormTable();

}  // namespace ostria
