// SPDX-License-Identifier: Apache-2.0
// Kernels that report bad data come before this one in the order of streams, so what they wrote is
// seen. The word stays until the host takes it: no later step commits either.
#include "kernels/control/data_accepted.h"

namespace ostria::kernels {

OSTRIA_KERNEL(data_accepted, DataAcceptedParams, 32) {
  if (threadIdx.x != 0) return;
  const bool accepted = *static_cast<const volatile int32_t*>(&p.data_error->taken) == 0;
  const bool decision = *p.decision;
  *p.accepted = accepted;
  *p.decided = accepted && decision;
}

}  // namespace ostria::kernels
