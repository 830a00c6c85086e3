// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "runtime/plan.h"

namespace ostria {

/// What one run of the step reads and writes, all rounds of its bodies included.
int64_t MovedBytes(const Plan& plan, const Step& step);

/// Fills in PlanStats::moved_bytes and fused_bound_bytes. `graph` is the plan's.
void CountBytes(const Graph& graph, Plan* plan);

}  // namespace ostria
