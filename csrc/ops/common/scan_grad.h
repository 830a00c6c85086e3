// SPDX-License-Identifier: Apache-2.0
// The gradient of a scan is a scan in the other direction.
#pragma once

#include "ir/grad_context.h"

namespace ostria::ops {

void ScanGrad(GradContext& c);

}  // namespace ostria::ops
