// SPDX-License-Identifier: Apache-2.0
// A handle of the stand-in for cuDNN.
#pragma once

#include <cuda.h>

struct cudnnContext {
  CUstream stream = nullptr;
};
