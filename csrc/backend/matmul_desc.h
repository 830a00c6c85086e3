// SPDX-License-Identifier: Apache-2.0
// What a matmul node comes down to, whatever computes it: sizes and strides in elements, transposes
// resolved, batch axes merged and, where one right-hand side serves all of the last one, folded
// into the rows.
#pragma once

#include <cstdint>

#include "backend/kernel.h"
#include "ops/common/epilogue.h"

namespace ostria {

struct MatmulDesc {
  DType dtype = DType::kFloat32;   // of the operands
  DType result = DType::kFloat32;  // the same, or float32
  int64_t m = 0, n = 0, k = 0;
  int64_t a_m = 0, a_k = 0, b_k = 0, b_n = 0, y_m = 0, y_n = 0;
  int batch_rank = 0;
  int64_t batch[kMaxRank] = {}, a_batch[kMaxRank] = {}, b_batch[kMaxRank] = {},
          y_batch[kMaxRank] = {};
  bool has_bias = false;
  ops::Epilogue epilogue = ops::Epilogue::kNone;

  /// Whether all that follows the product is a bias and an activation.
  bool is_simple() const { return ops::DefOf(epilogue).is_simple(); }
  /// Of a simple epilogue; else none.
  ops::Activation activation() const {
    return is_simple() ? ops::DefOf(epilogue).activation : ops::Activation::kNone;
  }

  int64_t batches() const {
    int64_t count = 1;
    for (int i = 0; i < batch_rank; ++i) count *= batch[i];
    return count;
  }
  double flops() const { return 2.0 * static_cast<double>(m) * n * k * batches(); }
};

/// For nodes of matmul and matmul_fused.
MatmulDesc DescribeMatmul(const NodeDesc& node);

}  // namespace ostria
