// SPDX-License-Identifier: Apache-2.0
#include "dist/control/server.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <deque>
#include <future>
#include <mutex>
#include <thread>
#include <unordered_map>

namespace ostria::control {
namespace {

using std::chrono::milliseconds;

constexpr size_t kMaxQueued = size_t{64} << 20;  // bytes that a connection does not read
constexpr milliseconds kLinger{1000};            // for a refusal to arrive
constexpr ConnectionId kListenId = 0, kWakeId = 1, kFirstId = 2;

void LogToStderr(const std::string& line) {
  std::fputs(StrCat("[ostria] ", line, "\n").c_str(), stderr);
}

// A connection is a file descriptor, and a thousand ranks are more than many shells allow.
void AllowDescriptors(int world) {
  rlimit limit{};
  const rlim_t wanted = 256 + 2 * static_cast<rlim_t>(world);
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min(wanted, limit.rlim_max);
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

class Server::Loop final : public Outbox {
 public:
  Loop(Listener listener, HubOptions options, const Secret& secret, LogLine log)
      : listener_(std::move(listener)),
        log_(log ? std::move(log) : LogLine(LogToStderr)),
        epoll_(epoll_create1(EPOLL_CLOEXEC)),
        wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        tick_(std::clamp(options.timers.heartbeat / 4, milliseconds(2), milliseconds(50))),
        hub_(std::move(options), secret, this, Time::clock::now()) {
    if (!epoll_.valid() || !wake_.valid()) {
      Fail(ErrorCode::kDistributed, "the store's server: ", std::strerror(errno));
    }
    const HubOptions& o = hub_.options();
    AllowDescriptors(o.world);
    Watch(EPOLL_CTL_ADD, wake_.get(), kWakeId, EPOLLIN);
    Watch(EPOLL_CTL_ADD, listener_.fd(), kListenId, EPOLLIN);
    log_(StrCat("control: job '", o.job, "', generation ", o.generation, ", ", o.world,
                " ranks, store at ", ToString(listener_.host(), listener_.port()),
                "; timers: ", control::ToString(o.timers)));
    thread_ = std::thread([this] { Run(); });
  }

  ~Loop() override {
    Post([this] { stop_ = true; });
    thread_.join();
  }

  const Listener& listener() const { return listener_; }

  /// Runs `work` on the loop's thread and waits for it.
  void Call(const std::function<void()>& work) {
    std::packaged_task<void()> task(work);
    std::future<void> done = task.get_future();
    Post([&task] { task(); });
    done.get();
  }
  Hub& hub() { return hub_; }  // in Call only

  void Send(ConnectionId to, Bytes bytes) override {
    const auto at = sockets_.find(to);
    if (at == sockets_.end() || at->second.broken) return;
    Socket& s = at->second;
    s.queued += bytes->size();
    s.out.push_back(std::move(bytes));
    if (s.queued > kMaxQueued) s.broken = true;
    dirty_.push_back(to);
  }
  void Close(ConnectionId id) override {
    const auto at = sockets_.find(id);
    if (at == sockets_.end()) return;
    at->second.lingers_until = Time::clock::now() + kLinger;
    lingering_.push_back(id);
    dirty_.push_back(id);
  }
  void Log(const std::string& line) override { log_(StrCat("control: ", line)); }

 private:
  struct Socket {
    Fd fd;
    std::deque<Bytes> out;
    size_t sent = 0, queued = 0;  // of the first of `out`; of all
    bool wants_write = false, broken = false, shut = false;
    std::optional<Time> lingers_until;  // the hub has closed it
  };

  void Post(std::function<void()> work) {
    {
      const std::lock_guard lock(mutex_);
      posted_.push_back(std::move(work));
    }
    const uint64_t one = 1;
    if (write(wake_.get(), &one, sizeof(one)) < 0) return;  // full: it wakes anyway
  }

  void Watch(int what, int fd, ConnectionId id, uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = id;
    epoll_ctl(epoll_.get(), what, fd, &event);
  }

  void Run() {
    Time next = Time::clock::now() + tick_;
    std::array<epoll_event, 256> events{};
    while (!stop_) {
      const auto left = std::chrono::ceil<milliseconds>(next - Time::clock::now());
      const int timeout = static_cast<int>(std::clamp<int64_t>(left.count(), 0, 1000));
      const int n = epoll_wait(epoll_.get(), events.data(), events.size(), timeout);
      // What has arrived is read before anybody is judged by the clock.
      for (int i = 0; i < n; ++i) Guard(events[static_cast<size_t>(i)].data.u64);
      RunPosted();
      const Time now = Time::clock::now();
      if (now >= next && (n < static_cast<int>(events.size()) || now - next > 10 * tick_)) {
        hub_.Tick(now);
        Listen(now);
        EndLingering(now);
        next = now + tick_;
      }
      Flush();
    }
    hub_.Close();
    Flush();
    const Time end = Time::clock::now() + kLinger;
    while (!sockets_.empty() && Time::clock::now() < end) {
      const int n = epoll_wait(epoll_.get(), events.data(), events.size(), 10);
      for (int i = 0; i < n; ++i) {
        const ConnectionId id = events[static_cast<size_t>(i)].data.u64;
        if (id >= kFirstId) Guard(id);
      }
      Flush();
    }
    RunPosted();
  }

  // Memory may run out for one connection; the others go on.
  void Guard(ConnectionId id) {
    try {
      if (id == kListenId)
        Accept();
      else if (id == kWakeId)
        DrainWake();
      else
        Read(id);
    } catch (const std::exception& e) {
      Log(StrCat("a connection failed: ", e.what()));
      if (id >= kFirstId) Drop(id, "its connection failed");
    }
  }

  void DrainWake() {
    uint64_t count = 0;
    while (read(wake_.get(), &count, sizeof(count)) > 0) {
    }
  }
  void RunPosted() {
    std::vector<std::function<void()>> work;
    {
      const std::lock_guard lock(mutex_);
      work.swap(posted_);
    }
    for (const auto& w : work) w();
  }

  void Accept() {
    while (true) {
      const Time now = Time::clock::now();
      if (!hub_.MayAccept(now)) return Deafen();
      sockaddr_storage peer{};
      socklen_t size = sizeof(peer);
      Fd fd(accept4(listener_.fd(), reinterpret_cast<sockaddr*>(&peer), &size,
                    SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!fd.valid()) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) Deafen();
        return;
      }
      const int yes = 1;
      setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
      const ConnectionId id = next_id_++;
      Watch(EPOLL_CTL_ADD, fd.get(), id, EPOLLIN);
      sockets_[id].fd = std::move(fd);
      hub_.Connected(id, PeerName(peer, size), now);
    }
  }
  // Those that wait stay in the system's queue until there is room.
  void Deafen() {
    deaf_ = true;
    Watch(EPOLL_CTL_MOD, listener_.fd(), kListenId, 0);
  }
  void Listen(Time now) {
    if (!deaf_ || !hub_.MayAccept(now)) return;
    deaf_ = false;
    Watch(EPOLL_CTL_MOD, listener_.fd(), kListenId, EPOLLIN);
  }

  void Read(ConnectionId id) {
    std::array<uint8_t, 65536> buffer;
    for (int rounds = 0; rounds < 16; ++rounds) {  // then it is the others' turn
      const auto at = sockets_.find(id);
      if (at == sockets_.end()) return;
      Socket& s = at->second;
      const ssize_t n = recv(s.fd.get(), buffer.data(), buffer.size(), 0);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
      if (n <= 0) return Drop(id, n == 0 ? "its connection closed" : "its connection broke");
      if (!s.lingers_until) {
        hub_.Received(id, {buffer.data(), static_cast<size_t>(n)}, Time::clock::now());
      }
      if (static_cast<size_t>(n) < buffer.size()) break;
    }
    dirty_.push_back(id);  // it may be writable too
  }

  void Flush() {
    while (!dirty_.empty()) {
      std::vector<ConnectionId> ids;
      ids.swap(dirty_);
      std::sort(ids.begin(), ids.end());
      ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
      for (const ConnectionId id : ids) Write(id);
    }
  }

  void Write(ConnectionId id) {
    const auto at = sockets_.find(id);
    if (at == sockets_.end()) return;
    Socket& s = at->second;
    while (!s.out.empty() && !s.broken) {
      const std::string& bytes = *s.out.front();
      const ssize_t n =
          send(s.fd.get(), bytes.data() + s.sent, bytes.size() - s.sent, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
      if (n < 0) return Drop(id, "its connection broke");
      s.sent += static_cast<size_t>(n);
      s.queued -= static_cast<size_t>(n);
      if (s.sent < bytes.size()) continue;
      s.out.pop_front();
      s.sent = 0;
    }
    if (s.broken) return Drop(id, "it does not read what it is sent; its connection was closed");
    if (s.out.empty() && s.lingers_until && !s.shut) {
      s.shut = true;
      shutdown(s.fd.get(), SHUT_WR);
    }
    if (s.wants_write == s.out.empty()) {
      s.wants_write = !s.out.empty();
      Watch(EPOLL_CTL_MOD, s.fd.get(), id, EPOLLIN | (s.wants_write ? EPOLLOUT : 0U));
    }
  }

  void Drop(ConnectionId id, std::string_view why) {
    const auto at = sockets_.find(id);
    if (at == sockets_.end()) return;
    const bool known = !at->second.lingers_until.has_value();
    sockets_.erase(at);
    if (known) hub_.Disconnected(id, why, Time::clock::now());
  }

  void EndLingering(Time now) {
    std::erase_if(lingering_, [&](ConnectionId id) {
      const auto at = sockets_.find(id);
      if (at == sockets_.end()) return true;
      if (now < *at->second.lingers_until) return false;
      sockets_.erase(at);
      return true;
    });
  }

  static std::string PeerName(const sockaddr_storage& peer, socklen_t size) {
    std::array<char, 64> host{};
    std::array<char, 16> port{};
    if (getnameinfo(reinterpret_cast<const sockaddr*>(&peer), size, host.data(), host.size(),
                    port.data(), port.size(), NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
      return "somebody";
    }
    return ToString(host.data(), std::atoi(port.data()));
  }

  const Listener listener_;
  const LogLine log_;
  const Fd epoll_, wake_;
  const milliseconds tick_;
  Hub hub_;
  std::unordered_map<ConnectionId, Socket> sockets_;
  std::vector<ConnectionId> dirty_, lingering_;
  ConnectionId next_id_ = kFirstId;
  bool stop_ = false, deaf_ = false;
  std::mutex mutex_;  // guards posted_
  std::vector<std::function<void()>> posted_;
  std::thread thread_;
};

Server::Server(Listener listener, HubOptions options, const Secret& secret, LogLine log)
    : loop_(std::make_unique<Loop>(std::move(listener), std::move(options), secret,
                                   std::move(log))) {}
Server::~Server() = default;

const std::string& Server::host() const { return loop_->listener().host(); }
int Server::port() const { return loop_->listener().port(); }

void Server::Advance(uint32_t generation, int world) {
  AllowDescriptors(world);
  loop_->Call([&] { loop_->hub().Advance(generation, world, Time::clock::now()); });
}

void Server::Report(int rank, const std::string& reason) {
  loop_->Call([&] { loop_->hub().Report(rank, reason, Time::clock::now()); });
}

std::vector<PeerFailure> Server::Failures() {
  std::vector<PeerFailure> failures;
  loop_->Call([&] { failures = loop_->hub().failures(); });
  return failures;
}

std::map<std::string, int64_t> Server::Refusals() {
  std::map<std::string, int64_t> refusals;
  loop_->Call([&] {
    for (const auto& [reason, n] : loop_->hub().refusals()) {
      refusals[std::string(control::ToString(reason))] = n;
    }
  });
  return refusals;
}

int Server::Present() {
  int present = 0;
  loop_->Call([&] { present = loop_->hub().present(); });
  return present;
}

bool Server::WaitUntilLeft(Timers::ms timeout, const std::function<void()>& poll) {
  const Time deadline = Time::clock::now() + timeout;
  while (true) {
    bool left = false;
    loop_->Call([&] { left = loop_->hub().everybody_left(); });
    if (left) return true;
    if (Time::clock::now() >= deadline) return false;
    if (poll) poll();
    std::this_thread::sleep_for(milliseconds(5));
  }
}

}  // namespace ostria::control
