// SPDX-License-Identifier: Apache-2.0
// The server of the control channel: one thread that moves bytes between sockets and the hub. Rank
// 0's process or the launcher has it. It needs no lock of Python's.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "dist/control/hub.h"
#include "dist/control/socket.h"

namespace ostria::control {

/// Where lines of the log go; an empty one writes them to stderr, marked "[ostria]".
using LogLine = std::function<void(const std::string&)>;

class Server {
 public:
  /// Serves at `listener` from now on, and logs address and timers.
  Server(Listener listener, HubOptions options, const Secret& secret, LogLine log = {});
  /// Tells whoever is still connected that the store ends.
  ~Server();
  Server(const Server&) = delete;

  const std::string& host() const;
  int port() const;

  /// See Hub::Advance and Hub::Report.
  void Advance(uint32_t generation, int world);
  void Report(int rank, const std::string& reason);
  /// The root cause first.
  std::vector<PeerFailure> Failures();
  /// How many connections were refused, by reason.
  std::map<std::string, int64_t> Refusals();
  /// See Hub::present.
  int Present();
  /// All ranks have left, or failed; false where they did not within `timeout`.
  /// `poll` is called while it waits; what it throws ends the wait.
  bool WaitUntilLeft(Timers::ms timeout, const std::function<void()>& poll = {});

 private:
  class Loop;
  std::unique_ptr<Loop> loop_;
};

}  // namespace ostria::control
