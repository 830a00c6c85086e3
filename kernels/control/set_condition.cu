// SPDX-License-Identifier: Apache-2.0
// One thread. The function is the driver's, which resolves it when the kernel is loaded, as it does
// with printf: nothing of the runtime is linked.
#include "kernels/control/set_condition.h"

#if defined(__CUDACC__)
extern "C" __device__ void cudaGraphSetConditional(unsigned long long handle, unsigned int value);
#endif

namespace ostria::kernels {

OSTRIA_KERNEL(set_condition, SetConditionParams, 1) {
  cudaGraphSetConditional(p.handle, *p.flag != 0 ? 1u : 0u);
}

}  // namespace ostria::kernels
