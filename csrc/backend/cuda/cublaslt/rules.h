// SPDX-License-Identifier: Apache-2.0
// One problem of cuBLASLt as plain numbers, and what the library accepts, as functions of them that
// need no device. D = epilogue(op(A) op(B) + beta C), all matrices column-major. The rules are
// those of cublasLt.h 13.1 and of its documentation (sections cublasLtMatmul and
// cublasLtMatmulDescAttributes_t); the library's own heuristics have the last word.
#pragma once

#include <cublasLt.h>

#include <cstdint>
#include <string>

#include "backend/kernel.h"

namespace ostria::cuda {

struct LtMatrix {
  cudaDataType type = CUDA_R_32F;
  int64_t rows = 0, cols = 0, ld = 0;  // ld: elements from one column to the next
  int64_t stride = 0;                  // from one matrix of a batch to the next; 0: the same one
  friend bool operator==(const LtMatrix&, const LtMatrix&) = default;
};

struct LtProblem {
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  cudaDataType scale = CUDA_R_32F;
  bool transpose_a = false, transpose_b = false;
  LtMatrix a, b, d;  // as they lie in memory; C lies as D does
  int64_t batches = 1;
  bool add_c = false;  // beta is 1, else 0
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  cudaDataType bias_type = CUDA_R_32F;  // where the epilogue has a bias or its gradient
  int64_t aux_ld = 0, aux_stride = 0;   // where it reads or writes an auxiliary matrix
  int a_alignment = 16, b_alignment = 16, d_alignment = 16;  // bytes, of the first element
  friend bool operator==(const LtProblem&, const LtProblem&) = default;

  /// Of the product: D is rows x cols, inner elements are summed.
  int64_t rows() const { return d.rows; }
  int64_t cols() const { return d.cols; }
  int64_t inner() const { return transpose_a ? a.rows : a.cols; }
};

// What an epilogue consists of.
bool AddsBias(cublasLtEpilogue_t epilogue);
bool WritesBiasGradient(cublasLtEpilogue_t epilogue);
bool IsSumOfOperand(cublasLtEpilogue_t epilogue);  // a gradient of a bias from A or B
bool IsGradient(cublasLtEpilogue_t epilogue);      // of an activation
bool HasGelu(cublasLtEpilogue_t epilogue);         // by tanh, forward or gradient
bool HasAux(cublasLtEpilogue_t epilogue);
/// Elements of the vector that the epilogue reads or writes at the bias pointer; 0: none.
int64_t BiasLength(const LtProblem& p);
/// The smallest leading dimension of an auxiliary matrix of `rows` rows: of bits for ReLU's mask,
/// else of elements of D.
int64_t AuxLd(cublasLtEpilogue_t epilogue, int64_t rows);

/// Whether types, shapes and leading dimensions go together.
Support LegalProduct(const LtProblem& p);
/// Whether the epilogue goes with the product.
Support LegalEpilogue(const LtProblem& p);
/// Both.
Support Legal(const LtProblem& p);

/// What keeps the matrices from being read in 16-byte vectors, which 16-bit products pay dearly:
/// "ld of b 50257", with the names of the node's operands. Empty: nothing.
std::string Misalignment(const LtProblem& p);

/// Everything that a choice of algorithms depends on, in one line of text.
std::string KeyOf(const LtProblem& p);

int64_t BytesOf(cudaDataType type);
const char* NameOf(cudaDataType type);
std::string NameOf(cublasLtEpilogue_t epilogue);  // "gelu_bias"

}  // namespace ostria::cuda
