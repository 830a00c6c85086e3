// SPDX-License-Identifier: Apache-2.0
// Chooses the transport for a group of processes: memory where all are on one host, sockets between
// hosts, both where hosts have several ranks each.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "dist/group.h"
#include "dist/key_values.h"

namespace ostria {

struct CommunicatorOptions : GroupOptions {
  std::string transport = "auto";  // or "shm", "gloo", "hierarchical": that one, or an error
  std::string interface;  // of the network ("eth0"), or an address of it; empty: hosts[rank]
};

struct MadeCommunicator {
  std::unique_ptr<Communicator> communicator;
  std::string choice;  // one line: which transport, and why
};

/// Joins the group; blocks until all ranks have. `hosts` names each rank's host: equal names are
/// one host. Throws Error(kDistributed) that names who is missing, Error(kInvalidArgument) for a
/// transport that cannot serve these hosts.
MadeCommunicator MakeCommunicator(int rank, int size, std::span<const std::string> hosts,
                                  KeyValues& key_values, const CommunicatorOptions& options);

}  // namespace ostria
