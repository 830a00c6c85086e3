// SPDX-License-Identifier: Apache-2.0
// What stand-ins for libraries that launch kernels of their own need of the fake driver. Apart from
// fake_cuda.h, whose vector types are not those of the toolkit's headers.
#pragma once

#include <cuda.h>

#include <functional>

namespace fake_cuda {

/// Puts work into a stream, or into the graph where the stream is captured. `work` runs later, in
/// any thread.
CUresult Enqueue(CUstream stream, std::function<void()> work);

}  // namespace fake_cuda
