// SPDX-License-Identifier: Apache-2.0
// The condition of a node of a captured graph, from a flag that kernels compute.
#pragma once

#include "kernels/common/kernel.h"
#include "kernels/common/layout.h"

namespace ostria::kernels {

struct SetConditionParams {
  const uint8_t* flag = nullptr;
  uint64_t handle = 0;
};
OSTRIA_LAYOUT(SetConditionParams, 16, flag, handle);

}  // namespace ostria::kernels
