// SPDX-License-Identifier: Apache-2.0
#include "dist/workers.h"

#include <utility>

#include "backend/backend.h"
#include "dist/control/watch.h"
#include "dist/overlapped.h"

namespace ostria {
namespace {

class Connector {
 public:
  Connector(std::shared_ptr<control::Client> client, WorkerOptions options)
      : client_(std::move(client)), options_(std::move(options)) {}

  // Every rank has made as many groups as all others: an error ends the group for all.
  std::vector<std::unique_ptr<Communicator>> operator()() {
    CommunicatorOptions options = options_.communicator;
    options.key = StrCat("replicas/", groups_++);
    std::vector<MadeCommunicator> made =
        MakeCommunicators(options_.first_rank, static_cast<int>(options_.devices.size()),
                          options_.hosts, control::MakeStoreKeyValues(client_, ""), options);
    if (options_.report) options_.report(made[0].choice);
    std::vector<std::unique_ptr<Communicator>> ranks;
    for (MadeCommunicator& m : made) {
      auto watch = std::make_shared<control::Watch>(client_, m.communicator.get());
      ranks.push_back(MakeOverlapped(std::move(m.communicator), std::move(watch)));
    }
    const DeviceKind kind = options_.devices[0].kind;
    if (kind == DeviceKind::kCpu) return ranks;
    std::vector<int> ordinals;
    for (const DeviceId d : options_.devices) ordinals.push_back(d.ordinal);
    return FindBackend(kind).Connect(ordinals, std::move(ranks), options.timeout);
  }

 private:
  std::shared_ptr<control::Client> client_;
  WorkerOptions options_;
  int groups_ = 0;
};

}  // namespace

std::unique_ptr<ReplicaGroup> MakeWorkerReplicas(std::shared_ptr<control::Client> client,
                                                 WorkerOptions options) {
  std::vector<DeviceId> devices = options.devices;
  const ReplicaOptions replicas = options.replicas;
  return std::make_unique<ReplicaGroup>(std::move(devices),
                                        Connector(std::move(client), std::move(options)), replicas);
}

}  // namespace ostria
