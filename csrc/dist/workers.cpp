// SPDX-License-Identifier: Apache-2.0
#include "dist/workers.h"

#include <algorithm>
#include <utility>

#include "backend/backend.h"
#include "base/parallel.h"
#include "dist/control/watch.h"
#include "dist/interleaved.h"
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
      const bool interleaved = m.communicator->has_pieces() && !HasCoreBeside();
      ranks.push_back((interleaved ? MakeInterleaved : MakeOverlapped)(std::move(m.communicator),
                                                                       std::move(watch)));
    }
    const DeviceKind kind = options_.devices[0].kind;
    if (kind == DeviceKind::kCpu) return ranks;
    std::vector<int> ordinals;
    for (const DeviceId d : options_.devices) ordinals.push_back(d.ordinal);
    return FindBackend(kind).Connect(ordinals, std::move(ranks), options.timeout);
  }

 private:
  // Whether a thread beside a replica's own has a core on which nobody computes. Replicas of
  // several threads leave theirs now and then; those that are bound to cores of their own are taken
  // to share them.
  bool HasCoreBeside() const {
    const auto devices = static_cast<int>(options_.devices.size());
    const int threads = options_.replicas.threads_each > 0 ? options_.replicas.threads_each
                                                           : std::max(1, NumThreads() / devices);
    const auto here = std::count(options_.hosts.begin(), options_.hosts.end(),
                                 options_.hosts[static_cast<size_t>(options_.first_rank)]);
    return threads > 1 || NumCores() > here;
  }

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
