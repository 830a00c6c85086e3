// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/simd/dense_table.h"

#include "backend/cpu/simd/cpu_isa.h"

namespace ostria {

const DenseTable& Dense() {
  switch (CurrentIsa()) {
    case Isa::kAvx512: return kDenseAvx512;
    case Isa::kAvx2: return kDenseAvx2;
    case Isa::kBaseline: break;
  }
  return kDenseBaseline;
}
template <>
const DenseKernels<float>& DenseOf<float>() {
  return Dense().f32;
}
template <>
const DenseKernels<double>& DenseOf<double>() {
  return Dense().f64;
}

}  // namespace ostria
