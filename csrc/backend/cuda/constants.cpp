// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/constants.h"

#include <algorithm>

namespace ostria::cuda {

Constants::Constants(const CudaDevice& device, const void* data, size_t bytes) : device_(device) {
  device.MakeCurrent();
  CheckDriver(Driver().cuMemAlloc(&at_, std::max<size_t>(bytes, 1)),
              StrCat("allocating ", bytes, " bytes of constants"));
  if (bytes > 0) CheckDriver(Driver().cuMemcpyHtoD(at_, data, bytes), "copying constants");
}

Constants::~Constants() {
  if (at_ == 0) return;
  device_.MakeCurrent();
  Driver().cuMemFree(at_);
}

}  // namespace ostria::cuda
