// SPDX-License-Identifier: Apache-2.0
// NCCL as a table of functions.
#pragma once

#include <nccl.h>

#include <string_view>

#include "backend/cuda/libraries/library.h"

#define OSTRIA_NCCL_FUNCTIONS(X) \
  X(ncclGetVersion)              \
  X(ncclGetUniqueId)             \
  X(ncclCommInitRankConfig)      \
  X(ncclCommFinalize)            \
  X(ncclCommDestroy)             \
  X(ncclCommAbort)               \
  X(ncclCommGetAsyncError)       \
  X(ncclAllReduce)               \
  X(ncclBroadcast)               \
  X(ncclReduceScatter)           \
  X(ncclAllGather)               \
  X(ncclGroupStart)              \
  X(ncclGroupEnd)                \
  X(ncclGetErrorString)          \
  X(ncclGetLastError)

namespace ostria::cuda {

struct NcclTable {
  OSTRIA_NCCL_FUNCTIONS(OSTRIA_TABLE_FIELD)
};

/// The functions of NCCL, loaded when first asked for. Throws Error(kDeviceUnavailable).
const NcclTable& Nccl();
extern const LibraryName kNcclLibrary;

/// Throws Error with NCCL's words for `result`.
void CheckNccl(ncclResult_t result, std::string_view what);

}  // namespace ostria::cuda
