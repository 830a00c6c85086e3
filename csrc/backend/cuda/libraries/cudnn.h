// SPDX-License-Identifier: Apache-2.0
// cuDNN as a table of functions: its backend (graph) interface, and recurrent nets, which are not
// graphs.
#pragma once

#include <cudnn.h>

#include <string_view>

#include "backend/cuda/libraries/library.h"

#define OSTRIA_CUDNN_FUNCTIONS(X)  \
  X(cudnnCreate)                   \
  X(cudnnDestroy)                  \
  X(cudnnSetStream)                \
  X(cudnnGetVersion)               \
  X(cudnnGetErrorString)           \
  X(cudnnGetLastErrorString)       \
  X(cudnnBackendCreateDescriptor)  \
  X(cudnnBackendDestroyDescriptor) \
  X(cudnnBackendSetAttribute)      \
  X(cudnnBackendGetAttribute)      \
  X(cudnnBackendFinalize)          \
  X(cudnnBackendExecute)           \
  X(cudnnCreateTensorDescriptor)   \
  X(cudnnDestroyTensorDescriptor)  \
  X(cudnnSetTensorNdDescriptor)    \
  X(cudnnCreateRNNDescriptor)      \
  X(cudnnDestroyRNNDescriptor)     \
  X(cudnnSetRNNDescriptor_v8)      \
  X(cudnnCreateRNNDataDescriptor)  \
  X(cudnnDestroyRNNDataDescriptor) \
  X(cudnnSetRNNDataDescriptor)     \
  X(cudnnGetRNNWeightSpaceSize)    \
  X(cudnnGetRNNWeightParams)       \
  X(cudnnGetRNNTempSpaceSizes)     \
  X(cudnnRNNForward)               \
  X(cudnnRNNBackwardData_v8)       \
  X(cudnnRNNBackwardWeights_v8)

namespace ostria::cuda {

struct CudnnTable {
  OSTRIA_CUDNN_FUNCTIONS(OSTRIA_TABLE_FIELD)
};

/// The functions of cuDNN, loaded when first asked for. Throws Error(kDeviceUnavailable).
const CudnnTable& Cudnn();
extern const LibraryName kCudnnLibrary;

/// Throws Error with cuDNN's words for `status`.
void CheckCudnn(cudnnStatus_t status, std::string_view what);

}  // namespace ostria::cuda
