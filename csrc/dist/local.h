// SPDX-License-Identifier: Apache-2.0
// The transport between threads of one process: ranks publish addresses, and each reduces a slice
// of everybody's data. Calls that differ between ranks are an error that shows both.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/communicator.h"

namespace ostria {

/// One communicator for each name ("cpu:0", …), in rank order. Each belongs to one thread, and may
/// outlive the others.
std::vector<std::unique_ptr<Communicator>> MakeLocalGroup(std::vector<std::string> names);

}  // namespace ostria
