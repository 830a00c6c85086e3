// SPDX-License-Identifier: Apache-2.0
// The CUDA driver as a table of functions. All of it that the project uses stands here.
#pragma once

#include <cuda.h>

#include <string>
#include <string_view>

#include "backend/cuda/libraries/library.h"

#define OSTRIA_DRIVER_FUNCTIONS(X)     \
  X(cuInit)                            \
  X(cuDriverGetVersion)                \
  X(cuDeviceGetCount)                  \
  X(cuDeviceGet)                       \
  X(cuDeviceGetName)                   \
  X(cuDeviceGetAttribute)              \
  X(cuDeviceTotalMem)                  \
  X(cuDeviceGetPCIBusId)               \
  X(cuDevicePrimaryCtxRetain)          \
  X(cuDevicePrimaryCtxRelease)         \
  X(cuCtxSetCurrent)                   \
  X(cuCtxGetCurrent)                   \
  X(cuCtxSynchronize)                  \
  X(cuMemGetInfo)                      \
  X(cuMemAlloc)                        \
  X(cuMemAllocManaged)                 \
  X(cuMemFree)                         \
  X(cuMemHostAlloc)                    \
  X(cuMemFreeHost)                     \
  X(cuMemHostGetDevicePointer)         \
  X(cuMemcpyHtoD)                      \
  X(cuMemcpyDtoH)                      \
  X(cuMemcpyHtoDAsync)                 \
  X(cuMemcpyDtoHAsync)                 \
  X(cuMemcpyDtoDAsync)                 \
  X(cuMemsetD8Async)                   \
  X(cuMemsetD8)                        \
  X(cuMemAddressReserve)               \
  X(cuMemAddressFree)                  \
  X(cuMemCreate)                       \
  X(cuMemRelease)                      \
  X(cuMemMap)                          \
  X(cuMemUnmap)                        \
  X(cuMemSetAccess)                    \
  X(cuMemGetAllocationGranularity)     \
  X(cuStreamCreateWithPriority)        \
  X(cuStreamDestroy)                   \
  X(cuStreamSynchronize)               \
  X(cuStreamQuery)                     \
  X(cuStreamWaitEvent)                 \
  X(cuStreamBeginCapture)              \
  X(cuStreamEndCapture)                \
  X(cuStreamIsCapturing)               \
  X(cuThreadExchangeStreamCaptureMode) \
  X(cuEventCreate)                     \
  X(cuEventDestroy)                    \
  X(cuEventRecord)                     \
  X(cuEventQuery)                      \
  X(cuEventSynchronize)                \
  X(cuEventElapsedTime)                \
  X(cuGraphInstantiate)                \
  X(cuGraphExecDestroy)                \
  X(cuGraphDestroy)                    \
  X(cuGraphLaunch)                     \
  X(cuGraphUpload)                     \
  X(cuGraphGetNodes)                   \
  X(cuModuleLoadData)                  \
  X(cuModuleUnload)                    \
  X(cuModuleGetFunction)               \
  X(cuFuncGetAttribute)                \
  X(cuFuncSetAttribute)                \
  X(cuLaunchKernel)                    \
  X(cuGetErrorName)                    \
  X(cuGetErrorString)                  \
  X(cuStreamGetCaptureInfo)            \
  X(cuStreamUpdateCaptureDependencies) \
  X(cuStreamBeginCaptureToGraph)       \
  X(cuGraphAddNode)                    \
  X(cuGraphConditionalHandleCreate)

namespace ostria::cuda {

struct DriverTable {
  OSTRIA_DRIVER_FUNCTIONS(OSTRIA_TABLE_FIELD)
};

/// The functions of the driver, loaded when first asked for. Throws Error(kDeviceUnavailable).
const DriverTable& Driver();
extern const LibraryName kDriverLibrary;

/// Throws Error with the driver's words for `result`; out of memory is Error(kOutOfMemory). After a
/// failure that ends CUDA in this process, says so and what was launched last.
void CheckDriver(CUresult result, std::string_view what);

/// "out of memory (CUDA_ERROR_OUT_OF_MEMORY)".
std::string DriverText(CUresult result);

// For that message. Launches of all devices and streams are noted in one word.
void NameLaunch(CUfunction function, std::string name);
void NoteLaunch(CUfunction function);
/// A captured step of so many nodes.
void NoteReplay(size_t nodes);
/// "kernel fill_4 of fill/fill"; "nothing yet".
std::string LastLaunch();

}  // namespace ostria::cuda
