// SPDX-License-Identifier: Apache-2.0
// Elementwise ops over strided inputs into a dense row-major output. Prepare resolves the function
// and collapses the shape once; Run does no look-up and no allocation. The output may be one of the
// inputs when that input is dense and has the output's shape and element size.
#pragma once

#include <cstdint>

#include "backend/cpu/simd/elementwise_table.h"
#include "core/dtype.h"
#include "kernels/scalar/scalar_op.h"

namespace ostria {

using kernels::ScalarOp;

inline constexpr int kMaxElementwiseRank = 8;

struct ElementwiseArgs {
  ScalarOp op;
  DType dtype;           // of the data inputs (where: of its second and third; the first is bool)
  int rank;              // at most 8
  const int64_t* sizes;  // of the output
  const int64_t (*strides)[kMaxElementwiseRank];  // per input, in elements; 0 repeats
  double params[2] = {};                          // slope of leaky_relu, alpha of elu
};

/// What Run needs: plain data, copied freely, valid as long as the process.
struct ElementwiseProgram {
  ElementwiseFn fn = nullptr;
  int n_inputs = 0;
  int rank = 0;  // at least 2: outer dims..., rows, cols
  int64_t sizes[kMaxElementwiseRank] = {};
  int64_t strides[3][kMaxElementwiseRank] = {};
  int64_t numel = 0;
  int64_t grain = 0;       // elements that are worth a thread
  int8_t in_size[3] = {};  // bytes per element
  int8_t out_size = 0;
  uint8_t half = 0;  // 1: float16, 2: bfloat16 storage around a float32 function
  bool bool_result = false;
  bool gathers = false;  // an input is neither contiguous nor repeated along a row
  double params[2] = {};
};

/// Whether `op` is defined for `dtype`.
bool ElementwiseSupports(ScalarOp op, DType dtype);
/// The dtype of the result.
DType ElementwiseResult(ScalarOp op, DType dtype);
/// Resolves the function for CurrentIsa(); throws Error(kNotImplemented) when unsupported.
ElementwiseProgram PrepareElementwise(const ElementwiseArgs& args);
/// Runs on the calling thread's share of threads; results do not depend on how many there are.
void RunElementwise(const ElementwiseProgram& program, const void* const* in, void* out);

/// The loop over a tile for CurrentIsa(); null when unsupported. Half types have none of their own.
ElementwiseFn ElementwiseFunction(ScalarOp op, DType dtype);
/// Two of them in one loop; null where there is no such pair.
ElementwiseFn ElementwisePair(ScalarOp first, ScalarOp second, bool swapped, DType dtype);
/// Whether an element costs several additions.
bool ElementwiseIsCostly(ScalarOp op);
/// Half storage to float32 and back; the first is float16's, the second bfloat16's.
const ElementwiseTable& HalfConversions();

/// Prepare for dense inputs of the output's size, `n` elements each.
ElementwiseProgram PrepareElementwiseFlat(ScalarOp op, DType dtype, int64_t n, double param = 0);

}  // namespace ostria
