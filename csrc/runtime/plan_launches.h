// SPDX-License-Identifier: Apache-2.0
// What a run of a plan puts into a stream, counted: which kernels, how often. Bodies count as often
// as they run; what is kept from run to run does not.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "runtime/plan.h"

namespace ostria {

struct PlanLaunches {
  std::map<std::string, int64_t> kernels;  // by name, of implementations that name theirs
  int64_t launches = 0;                    // of all of them
  int64_t copies = 0;                      // besides them: Plan::copies
  int64_t transposes = 0;                  // steps that only permute axes
  std::map<std::string, int64_t> moved;    // bytes read and written, by op
};

PlanLaunches CountLaunches(const Plan& plan);

}  // namespace ostria
