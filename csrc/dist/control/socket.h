// SPDX-License-Identifier: Apache-2.0
// TCP, IPv4 and IPv6, without surprises: a listener accepts at one address and nowhere else, a port
// that is taken is an error that names who has it, and every wait has a deadline.
#pragma once

#include <functional>
#include <string>

#include "dist/control/membership.h"
#include "dist/fd.h"

namespace ostria::control {

/// "127.0.0.1:80", "[::1]:80".
std::string ToString(const std::string& host, int port);

class Listener {
 public:
  /// `host`: an address, a host's name or an interface's ("eth0"); no wildcard. `port` 0: a free
  /// one. A port that is taken is tried three times; then Error(kDistributed) names its process.
  static Listener Open(const std::string& host, int port);
  /// Takes over a listening socket of a parent's; throws Error(kInvalidArgument) for anything else.
  static Listener Adopt(int fd);

  const std::string& host() const { return host_; }
  int port() const { return port_; }
  int fd() const { return fd_.get(); }

 private:
  explicit Listener(Fd fd);
  Fd fd_;
  std::string host_;
  int port_ = 0;
};

/// Tries until `deadline`, as the other side may not yet be up. Throws Error(kDistributed), or what
/// `interrupt` throws, which is called every 100 ms.
Fd ConnectTo(const std::string& host, int port, Time deadline,
             const std::function<void()>& interrupt = {});

/// Waits until `fd` is ready for `events` of poll(2); -1 never is. False where it is not by
/// `until`. `interrupt` is called every 100 ms, and what it throws ends the wait.
bool WaitReady(int fd, int16_t events, Time until, const std::function<void()>& interrupt);

/// Which process has the TCP port, as far as this user may see: "process 77 (python3 train.py)".
std::string PortHolder(int port);

/// Name of this machine.
std::string HostName();

}  // namespace ostria::control
