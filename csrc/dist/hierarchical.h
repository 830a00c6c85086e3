// SPDX-License-Identifier: Apache-2.0
// The transport between hosts that have several ranks each: ranks of one host through memory, one
// of each host between hosts, and back. So a byte crosses the network once per host, not per rank.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/communicator.h"

namespace ostria {

/// `ranks_of_host`: how many ranks each host has; hosts hold consecutive ranks. `host` is all ranks
/// of this host, `leaders` the first rank of every host, null on others. Bits are those of `local`.
/// A rank that is no leader ends the leaders' group with `abort_leaders`.
std::unique_ptr<Communicator> MakeHierarchical(
    int rank, std::vector<int> ranks_of_host, std::unique_ptr<Communicator> host,
    std::unique_ptr<Communicator> leaders, std::function<void(const std::string&)> abort_leaders);

}  // namespace ostria
