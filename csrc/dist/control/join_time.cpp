// SPDX-License-Identifier: Apache-2.0
#include "dist/control/join_time.h"

#include <unistd.h>

#include <algorithm>
#include <exception>
#include <latch>
#include <memory>
#include <thread>
#include <vector>

#include "base/check.h"
#include "dist/control/client.h"
#include "dist/control/server.h"

namespace ostria::control {
namespace {

// They are all alive, however busy the machine is with so many.
Timers Patient() {
  Timers timers;
  timers.heartbeat = Timers::ms(5'000);
  timers.suspect = Timers::ms(120'000);
  timers.dead = Timers::ms(240'000);
  timers.authenticate = Timers::ms(60'000);
  timers.join = Timers::ms(60'000);
  return timers;
}

struct Rank {
  std::unique_ptr<Client> client;
  std::exception_ptr error;
  Time joined{};
};

}  // namespace

double MeasureJoin(int ranks) {
  OSTRIA_CHECK(ranks >= 1);
  const Secret secret = Secret::Generate();
  const Timers timers = Patient();
  HubOptions hub;
  hub.job = "meeting";
  hub.world = ranks;
  hub.timers = timers;
  hub.rank = 0;
  hub.host = "host-0";
  hub.pid = ::getpid();
  const Server server(Listener::Open("127.0.0.1", 0), hub, secret, [](const std::string&) {});

  std::vector<Rank> all(static_cast<size_t>(ranks));
  std::latch start(1);
  bool is_complete = true;  // where a thread is missing, the others would wait for its rank
  const auto join = [&](int r) {
    Rank& rank = all[static_cast<size_t>(r)];
    start.wait();
    if (!is_complete) return;
    try {
      ClientOptions options;
      options.host = server.host();
      options.port = server.port();
      options.job = hub.job;
      options.rank = r;
      options.world = ranks;
      options.host_name = StrCat("host-", r);
      options.timers = timers;
      rank.client = std::make_unique<Client>(std::move(options), secret);
      rank.client->Join({"127.0.0.1"});
      rank.joined = Time::clock::now();
    } catch (...) {
      rank.error = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  std::exception_ptr error;
  try {
    for (int r = 0; r < ranks; ++r) threads.emplace_back(join, r);
  } catch (...) {
    error = std::current_exception();
    is_complete = false;
  }
  const Time begin = Time::clock::now();
  start.count_down();
  for (std::thread& t : threads) t.join();
  Time end = begin;
  for (const Rank& rank : all) {
    if (rank.client != nullptr) rank.client->Leave();
    if (rank.error != nullptr && error == nullptr) error = rank.error;
    end = std::max(end, rank.joined);
  }
  if (error != nullptr) std::rethrow_exception(error);
  return std::chrono::duration<double>(end - begin).count();
}

}  // namespace ostria::control
