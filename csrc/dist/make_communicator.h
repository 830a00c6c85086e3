// SPDX-License-Identifier: Apache-2.0
// Chooses the transport for a group of processes: memory where all are on one host, sockets between
// hosts, both where hosts have several ranks each; MPI where a program asks for it. What a rank
// does is recorded in any case.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dist/flight_recorder.h"
#include "dist/group.h"
#include "dist/key_values.h"

namespace ostria {

struct CommunicatorOptions : GroupOptions {
  // Or "shm", "gloo", "hierarchical", "mpi": that one, or an error.
  std::string transport = "auto";
  std::string interface;      // of the network ("eth0"), or an address of it; empty: hosts[rank]
  std::string record_folder;  // of flight records; empty: a failure is not dumped
};

struct MadeCommunicator {
  std::unique_ptr<RecordedCommunicator> communicator;
  std::string choice;  // one line: which transport, and why
};

/// Joins the group; blocks until all ranks have. `hosts` names each rank's host: equal names are
/// one host. Threads of one process are ranks like any other. Throws Error(kDistributed) that names
/// who is missing, Error(kInvalidArgument) for a transport that cannot serve these hosts.
MadeCommunicator MakeCommunicator(int rank, std::span<const std::string> hosts,
                                  std::shared_ptr<KeyValues> key_values,
                                  const CommunicatorOptions& options);

/// Of the `count` ranks from `first` on, which are threads of this process: all join at once, since
/// each waits for the others. Throws what the first of them threw.
std::vector<MadeCommunicator> MakeCommunicators(int first, int count,
                                                std::span<const std::string> hosts,
                                                std::shared_ptr<KeyValues> key_values,
                                                const CommunicatorOptions& options);

}  // namespace ostria
