// SPDX-License-Identifier: Apache-2.0
// Groups whose ranks are processes that `mpirun` started: each communicator here is a stand-in that
// lets its rank make the calls.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/communicator.h"

namespace ostria {

/// Why there are none here; empty: there are.
std::string WhyNoMpirun();
/// One group at a time; the processes stay for the next one of this size.
std::vector<std::unique_ptr<Communicator>> OverMpirun(int size);

}  // namespace ostria
