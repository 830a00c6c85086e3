// SPDX-License-Identifier: Apache-2.0
// NVRTC, the run-time compiler, as a table of functions.
#pragma once

#include <nvrtc.h>

#include <string_view>

#include "backend/cuda/libraries/library.h"

#define OSTRIA_NVRTC_FUNCTIONS(X) \
  X(nvrtcVersion)                 \
  X(nvrtcGetErrorString)          \
  X(nvrtcCreateProgram)           \
  X(nvrtcDestroyProgram)          \
  X(nvrtcCompileProgram)          \
  X(nvrtcGetCUBINSize)            \
  X(nvrtcGetCUBIN)                \
  X(nvrtcGetProgramLogSize)       \
  X(nvrtcGetProgramLog)

namespace ostria::cuda {

struct NvrtcTable {
  OSTRIA_NVRTC_FUNCTIONS(OSTRIA_TABLE_FIELD)
};

/// The functions of NVRTC, loaded when first asked for. Throws Error(kDeviceUnavailable).
const NvrtcTable& Nvrtc();
extern const LibraryName kNvrtcLibrary;

/// Throws Error with NVRTC's words for `result`.
void CheckNvrtc(nvrtcResult result, std::string_view what);

}  // namespace ostria::cuda
