// SPDX-License-Identifier: Apache-2.0
// What a message about memory shows of a plan: its sizes, and its largest values with their lines.
#pragma once

#include <string>

#include "runtime/plan.h"

namespace ostria {

/// "the plan needs … bytes (activations …, state …)".
std::string PlanSizes(const Plan& plan);
/// "Largest values:", then a line for each: bytes, type, op, and the user's line.
std::string LargestValues(const Plan& plan);

}  // namespace ostria
