// SPDX-License-Identifier: Apache-2.0
// Batch normalisation, compiled for one instruction set (flags: csrc/backend/CMakeLists.txt).
#define OSTRIA_SIMD_ISA 1
#include "backend/cpu/simd/batch_norm_impl.h"

namespace ostria {

constinit const BatchNormTable kBatchNormAvx2 = simd::MakeBatchNormTable();

}  // namespace ostria
