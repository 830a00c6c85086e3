// SPDX-License-Identifier: Apache-2.0
#include "dist/workers.h"

#include <exception>
#include <thread>
#include <utility>

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
    const std::string key = StrCat("replicas/", groups_++);
    const size_t count = options_.devices.size();
    std::vector<std::unique_ptr<Communicator>> made(count);
    std::vector<std::exception_ptr> errors(count);
    std::vector<std::thread> threads;
    const auto join = [&](size_t i) {
      try {
        made[i] = Join(static_cast<int>(i), key);
      } catch (...) {
        errors[i] = std::current_exception();
      }
    };
    for (size_t i = 1; i < count; ++i) threads.emplace_back(join, i);  // each waits for all others
    join(0);
    for (std::thread& t : threads) t.join();
    for (const std::exception_ptr& error : errors) {
      if (error != nullptr) std::rethrow_exception(error);
    }
    return made;
  }

 private:
  std::unique_ptr<Communicator> Join(int replica, const std::string& key) const {
    CommunicatorOptions options = options_.communicator;
    options.key = key;
    MadeCommunicator made =
        MakeCommunicator(options_.first_rank + replica, options_.hosts,
                         control::MakeStoreKeyValues(client_, StrCat(key, "/")), options);
    if (replica == 0 && options_.report) options_.report(made.choice);
    auto watch = std::make_shared<control::Watch>(client_, made.communicator.get());
    return MakeOverlapped(std::move(made.communicator), std::move(watch));
  }

  std::shared_ptr<control::Client> client_;
  WorkerOptions options_;
  int groups_ = 0;
};

}  // namespace

std::unique_ptr<ReplicaGroup> MakeWorkerReplicas(std::shared_ptr<control::Client> client,
                                                 WorkerOptions options) {
  std::vector<DeviceId> devices = options.devices;
  return std::make_unique<ReplicaGroup>(std::move(devices),
                                        Connector(std::move(client), std::move(options)));
}

}  // namespace ostria
