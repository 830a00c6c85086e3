// SPDX-License-Identifier: Apache-2.0
// The replicas of one process of a job. What carries their data is chosen by where all ranks are,
// found through the job's store, watched by its control channel, and made anew after an error.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dist/control/client.h"
#include "dist/make_communicator.h"
#include "runtime/replica_group.h"

namespace ostria {

struct WorkerOptions {
  std::vector<DeviceId> devices;   // of this process's replicas
  int first_rank = 0;              // of the first one, among all replicas
  std::vector<std::string> hosts;  // of every replica of the job, in order of ranks
  CommunicatorOptions communicator;
  ReplicaOptions replicas;
  /// Gets one line when a transport was chosen: which, and why.
  std::function<void(const std::string&)> report;
};

/// All processes of `client`'s job call it alike; nothing is exchanged before the first run. Throws
/// what ReplicaGroup does.
std::unique_ptr<ReplicaGroup> MakeWorkerReplicas(std::shared_ptr<control::Client> client,
                                                 WorkerOptions options);

}  // namespace ostria
