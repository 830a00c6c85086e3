// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/simd/elementwise.h"

#include "backend/cpu/simd/cpu_isa.h"

namespace ostria {
namespace {

const ElementwiseTable& Table() {
  return OfCurrentIsa(kElementwiseBaseline, kElementwiseAvx2, kElementwiseAvx512);
}

ElementwiseFn Resolve(ScalarOp op, DType dtype) {
  if (!IsFloat(dtype)) return IntElementwise(op, static_cast<int>(dtype));
  const ElementwiseTable& table = Table();
  return dtype == DType::kFloat64 ? table.f64[static_cast<int>(op)]
                                  : table.f32[static_cast<int>(op)];
}

}  // namespace

bool ElementwiseSupports(ScalarOp op, DType dtype) { return Resolve(op, dtype) != nullptr; }

ElementwiseFn ElementwiseFunction(ScalarOp op, DType dtype) { return Resolve(op, dtype); }
ElementwiseFn ElementwisePair(ScalarOp first, ScalarOp second, bool swapped, DType dtype) {
  const int index = PairIndex(first, second, swapped);
  if (index < 0) return nullptr;
  const ElementwiseTable& table = Table();
  if (dtype == DType::kFloat32) return table.pair_f32[index];
  return dtype == DType::kFloat64 ? table.pair_f64[index] : nullptr;
}
const ElementwiseTable& HalfConversions() { return Table(); }

DType ElementwiseResult(ScalarOp op, DType dtype) {
  return kernels::InfoOf(op).is_bool ? DType::kBool : dtype;
}

}  // namespace ostria
