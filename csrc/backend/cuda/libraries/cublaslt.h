// SPDX-License-Identifier: Apache-2.0
// cuBLASLt as a table of functions.
#pragma once

#include <cublasLt.h>

#include <string_view>

#include "backend/cuda/libraries/library.h"

#define OSTRIA_CUBLASLT_FUNCTIONS(X)      \
  X(cublasLtCreate)                       \
  X(cublasLtDestroy)                      \
  X(cublasLtGetVersion)                   \
  X(cublasLtMatmul)                       \
  X(cublasLtMatmulAlgoGetHeuristic)       \
  X(cublasLtMatmulAlgoCheck)              \
  X(cublasLtMatmulAlgoConfigGetAttribute) \
  X(cublasLtMatmulDescCreate)             \
  X(cublasLtMatmulDescDestroy)            \
  X(cublasLtMatmulDescSetAttribute)       \
  X(cublasLtMatrixLayoutCreate)           \
  X(cublasLtMatrixLayoutDestroy)          \
  X(cublasLtMatrixLayoutSetAttribute)     \
  X(cublasLtMatmulPreferenceCreate)       \
  X(cublasLtMatmulPreferenceDestroy)      \
  X(cublasLtMatmulPreferenceSetAttribute) \
  X(cublasLtGetStatusString)

namespace ostria::cuda {

struct CublasLtTable {
  OSTRIA_CUBLASLT_FUNCTIONS(OSTRIA_TABLE_FIELD)
};

/// The functions of cuBLASLt, loaded when first asked for. Throws Error(kDeviceUnavailable).
const CublasLtTable& CublasLt();
extern const LibraryName kCublasLtLibrary;

/// Throws Error with cuBLASLt's words for `status`.
void CheckCublasLt(cublasStatus_t status, std::string_view what);

}  // namespace ostria::cuda
