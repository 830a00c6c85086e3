// SPDX-License-Identifier: Apache-2.0
// The CPU's implementations, one ordered list per family of ops; cpu_backend.cpp strings them together.
// Within an op the first that supports a node wins, so the order inside a list is the preference.
#pragma once

#include <span>

#include "backend/kernel.h"

namespace ostria::cpu {

std::span<const KernelDef> LinalgKernels();

}  // namespace ostria::cpu
