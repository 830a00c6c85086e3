// SPDX-License-Identifier: Apache-2.0
// Groups of every transport, for the tests that all of them pass.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/communicator.h"

namespace ostria {

struct Transport {
  const char* name;
  std::vector<std::unique_ptr<Communicator>> (*make)(int size);
  std::string (*why_not)() = [] { return std::string(); };  // it cannot run here; empty: it can
};

/// Those that were built.
std::vector<Transport> Transports();

/// Runs `rank` of every communicator in a thread of its own; returns what each threw ("": nothing).
std::vector<std::string> RunRanks(const std::vector<std::unique_ptr<Communicator>>& ranks,
                                  const std::function<void(Communicator&)>& rank);

}  // namespace ostria
