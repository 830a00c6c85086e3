// SPDX-License-Identifier: Apache-2.0
#include "dist/control/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>

#include "base/error.h"

namespace ostria::control {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kResolve{10'000};  // how long a name may take
constexpr milliseconds kSlice{100};       // between two looks for an interrupt

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  bool is_v6() const { return storage.ss_family == AF_INET6; }
  bool wildcard() const {
    if (is_v6()) {
      return IN6_IS_ADDR_UNSPECIFIED(&reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_addr) !=
             0;
    }
    return reinterpret_cast<const sockaddr_in*>(&storage)->sin_addr.s_addr == INADDR_ANY;
  }
  void set_port(int port) {
    const auto p = htons(static_cast<uint16_t>(port));
    if (is_v6())
      reinterpret_cast<sockaddr_in6*>(&storage)->sin6_port = p;
    else
      reinterpret_cast<sockaddr_in*>(&storage)->sin_port = p;
  }
};

[[noreturn]] void FailSystem(const std::string& what, int error) {
  Fail(ErrorCode::kDistributed, what, ": ", std::strerror(error));
}

bool OfInterface(const std::string& name, Address* found) {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return false;
  int best = 0;
  for (const ifaddrs* i = list; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr || name != i->ifa_name) continue;
    const int family = i->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    const bool v4 = family == AF_INET;
    const bool link_local =
        !v4 && IN6_IS_ADDR_LINKLOCAL(&reinterpret_cast<sockaddr_in6*>(i->ifa_addr)->sin6_addr);
    const int rank = v4 ? 3 : link_local ? 1 : 2;
    if (rank <= best) continue;
    best = rank;
    found->size = v4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    std::memcpy(&found->storage, i->ifa_addr, found->size);
  }
  freeifaddrs(list);
  return best > 0;
}

int Lookup(const std::string& host, int flags, Address* found) {
  addrinfo hints{}, *list = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &list);
  if (error != 0) return error;
  found->size = list->ai_addrlen;
  std::memcpy(&found->storage, list->ai_addr, list->ai_addrlen);
  freeaddrinfo(list);
  return 0;
}

// A resolver knows no deadline, so a name is looked up by a thread that may be left behind.
Address Resolve(const std::string& host, int port, Time deadline,
                const std::function<void()>& interrupt = {}) {
  Address address;
  if (Lookup(host, AI_NUMERICHOST, &address) != 0 && !OfInterface(host, &address)) {
    struct State {
      std::mutex mutex;
      std::condition_variable done;
      bool ready = false;
      int error = 0;
      Address address;
    };
    const auto state = std::make_shared<State>();
    std::thread([state, host] {
      Address found;
      const int error = Lookup(host, 0, &found);
      const std::lock_guard lock(state->mutex);
      state->ready = true;
      state->error = error;
      state->address = found;
      state->done.notify_all();
    }).detach();
    std::unique_lock lock(state->mutex);
    while (!state->done.wait_until(lock, std::min(deadline, Time::clock::now() + kSlice),
                                   [&] { return state->ready; })) {
      if (interrupt) interrupt();
      if (Time::clock::now() < deadline) continue;
      Fail(ErrorCode::kDistributed, "the name '", host,
           "' was not resolved in time; give an address, "
           "or mend the host's resolver");
    }
    if (state->error != 0) {
      Fail(ErrorCode::kDistributed, "'", host,
           "' is no address, no interface and no known host: ", gai_strerror(state->error));
    }
    address = state->address;
  }
  address.set_port(port);
  return address;
}

Fd NewSocket(const Address& address) {
  Fd fd(socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) FailSystem("a socket", errno);
  return fd;
}

void CheckPort(int port, bool any) {
  if (port >= (any ? 0 : 1) && port <= 65535) return;
  Fail(ErrorCode::kInvalidArgument, "port ", port, "; ports are 1 to 65535",
       any ? ", and 0 takes a free one" : "");
}

}  // namespace

std::string ToString(const std::string& host, int port) {
  const bool v6 = host.find(':') != std::string::npos;
  return StrCat(v6 ? "[" : "", host, v6 ? "]:" : ":", port);
}

Listener::Listener(Fd fd) : fd_(std::move(fd)) {
  Address address;
  address.size = sizeof(address.storage);
  if (getsockname(fd_.get(), address.get(), &address.size) != 0) FailSystem("a listener", errno);
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  const int error = getnameinfo(address.get(), address.size, host.data(), host.size(), port.data(),
                                port.size(), NI_NUMERICHOST | NI_NUMERICSERV);
  if (error != 0) Fail(ErrorCode::kDistributed, "a listener: ", gai_strerror(error));
  host_ = host.data();
  port_ = std::atoi(port.data());
}

Listener Listener::Open(const std::string& host, int port) {
  CheckPort(port, true);
  const Address address = Resolve(host, port, Time::clock::now() + kResolve);
  if (address.wildcard()) {
    Fail(ErrorCode::kInvalidArgument, "the store would listen at every address ('", host,
         "'); give the one address or interface that the other hosts reach");
  }
  for (int attempt = 1;; ++attempt) {
    Fd fd = NewSocket(address);
    const int yes = 1;
    setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (address.is_v6()) setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes));
    if (bind(fd.get(), address.get(), address.size) == 0 && listen(fd.get(), 4096) == 0) {
      return Listener(std::move(fd));
    }
    const int error = errno;
    if (error != EADDRINUSE) FailSystem(StrCat("listening at ", ToString(host, port)), error);
    if (attempt == 4) {
      Fail(ErrorCode::kDistributed, "port ", port, " at ", host, " is taken by ", PortHolder(port),
           ", tried 4 times; stop it, or give another port (0 takes a free one)");
    }
    std::this_thread::sleep_for(milliseconds(100));
  }
}

Listener Listener::Adopt(int fd) {
  int listens = 0;
  socklen_t size = sizeof(listens);
  const bool good = getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens != 0;
  Address address;
  address.size = sizeof(address.storage);
  if (!good || getsockname(fd, address.get(), &address.size) != 0 ||
      (address.storage.ss_family != AF_INET && !address.is_v6())) {
    Fail(ErrorCode::kInvalidArgument, "file descriptor ", fd,
         " is no listening TCP socket; pass "
         "the one that the launcher opened");
  }
  if (address.wildcard()) {
    Fail(ErrorCode::kInvalidArgument, "file descriptor ", fd,
         " listens at every address; bind it "
         "to the one that the other hosts reach");
  }
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  return Listener(Fd(fd));
}

bool WaitReady(int fd, int16_t events, Time until, const std::function<void()>& interrupt) {
  while (true) {
    const auto left = std::chrono::ceil<milliseconds>(until - Time::clock::now());
    pollfd wait{fd, events, 0};
    const auto slice = std::clamp(left, milliseconds(0), kSlice);
    if (poll(&wait, 1, static_cast<int>(slice.count())) > 0) return true;
    if (interrupt) interrupt();
    if (Time::clock::now() >= until) return false;
  }
}

Fd ConnectTo(const std::string& host, int port, Time deadline,
             const std::function<void()>& interrupt) {
  CheckPort(port, false);
  milliseconds pause{20};
  while (true) {
    const Address address = Resolve(host, port, deadline, interrupt);
    Fd fd = NewSocket(address);
    int error = connect(fd.get(), address.get(), address.size) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
      // A host that is not up yet answers nothing: a new try reaches it sooner than this one.
      const Time until = std::min(deadline, Time::clock::now() + milliseconds(3000));
      socklen_t size = sizeof(error);
      if (WaitReady(fd.get(), POLLOUT, until, interrupt))
        getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
      else
        error = ETIMEDOUT;
    }
    if (error == 0) {
      const int yes = 1;
      setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
      return fd;
    }
    if (Time::clock::now() + pause >= deadline) {
      Fail(ErrorCode::kDistributed, "no store answers at ", ToString(host, port), ": ",
           std::strerror(error),
           "; is rank 0 or the launcher running there, and may this host "
           "connect to it?");
    }
    WaitReady(-1, 0, Time::clock::now() + pause, interrupt);
    pause = std::min(2 * pause, milliseconds(500));
  }
}

std::string HostName() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "unknown host";
  return name.data();
}

}  // namespace ostria::control
