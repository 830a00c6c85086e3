// SPDX-License-Identifier: Apache-2.0
// Nodes of matmul and matmul_fused as problems of cuBLASLt. A row-major product y = a b is the
// column-major product of the transposes, y' = b' a': cuBLASLt's A is b, its B is a, the rows of
// its D are the columns of y, and so its bias is ours. Pure functions, no device.
#pragma once

#include <optional>

#include "backend/cuda/cublaslt/rules.h"
#include "backend/matmul_desc.h"

namespace ostria::cuda {

/// One problem, run once for each combination of the loop's indices.
struct LtProduct {
  struct Axis {
    int64_t count = 1;
    int64_t a = 0, b = 0, y = 0;  // elements from one run to the next
  };
  LtProblem problem;  // without epilogue
  int loop_rank = 0;
  Axis loop[kMaxRank];
  ops::Epilogue epilogue = ops::Epilogue::kNone;
  bool has_bias = false;
  DType bias = DType::kFloat32;

  int64_t runs() const {
    int64_t count = 1;
    for (int i = 0; i < loop_rank; ++i) count *= loop[i].count;
    return count;
  }
  bool is_plain() const { return !has_bias && epilogue == ops::Epilogue::kNone; }
};

/// Fills `product`, or says why cuBLASLt cannot do it. float32 is float32 unless the device's
/// properties allow TF32; 16-bit operands are summed in float32.
Support DescribeLtProduct(const NodeDesc& node, LtProduct* product);

/// The epilogue of cuBLASLt that a product of the node's ends in, or nothing where there is none:
/// exact gelu, tanh, sigmoid and silu are not, since cuBLASLt's GELU is the tanh form. The sum of
/// the node's b, cuBLASLt's A, is BGRADA, that of its a BGRADB.
std::optional<cublasLtEpilogue_t> LtEpilogueOf(ops::Epilogue epilogue, bool has_bias);

/// `problem` becomes the product with all that follows it as epilogue, or the reason why not.
Support WithEpilogue(const LtProduct& product, LtProblem* problem);

/// `problem` becomes what kernels of ours go on with (tail.h): the product alone; for a mask, relu
/// of it with its bias; for a preactivation that is kept, that.
Support BeforeTail(const LtProduct& product, LtProblem* problem);

/// The same where a pointer lies on no boundary but its element's.
LtProblem Unaligned(LtProblem problem);

/// Bytes of workspace that algorithms may use.
int64_t WorkspaceOf(const LtProduct& product);

/// "nt 512x50257x768, misaligned (ld of y 50257)": transposes of a and b, m x n x k.
std::string DetailOf(const LtProduct& product);

cudaDataType LtType(DType dtype);

}  // namespace ostria::cuda
