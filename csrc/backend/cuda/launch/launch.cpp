// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/launch/launch.h"

#include <algorithm>

namespace ostria::cuda {

void LaunchKernel(const CudaStream& stream, CUfunction function, const LaunchShape& s,
                  const void* params, size_t bytes) {
  // The driver copies the struct during the call.
  void* config[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, const_cast<void*>(params),
                    CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes, CU_LAUNCH_PARAM_END};
  NoteLaunch(function);
  CheckDriver(Driver().cuLaunchKernel(function, s.grid[0], s.grid[1], s.grid[2], s.block, 1, 1,
                                      s.shared_bytes, stream.handle(), nullptr, config),
              "launching a kernel");
}

unsigned GridFor(int64_t elements, int64_t per_thread, unsigned block, const DeviceProps& device,
                 int blocks_per_sm) {
  const int64_t each = per_thread * static_cast<int64_t>(block);
  const int64_t all = std::max<int64_t>(1, (elements + each - 1) / each);
  const int64_t most = int64_t{std::max(device.multiprocessors, 1)} * blocks_per_sm;
  return static_cast<unsigned>(std::min(all, most));
}

}  // namespace ostria::cuda
