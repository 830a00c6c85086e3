// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/simd/dense_table.h"

#include "backend/cpu/simd/cpu_isa.h"

namespace ostria {

const DenseTable& Dense() { return OfCurrentIsa(kDenseBaseline, kDenseAvx2, kDenseAvx512); }
template <>
const DenseKernels<float>& DenseOf<float>() {
  return Dense().f32;
}
template <>
const DenseKernels<double>& DenseOf<double>() {
  return Dense().f64;
}

}  // namespace ostria
