// SPDX-License-Identifier: Apache-2.0
#include "dist/gloo/gloo_wire.h"

#include <gloo/rendezvous/store.h>
#include <gloo/transport/tcp/device.h>
#include <net/if.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <exception>
#include <stdexcept>
#include <utility>

#include "base/check.h"

namespace ostria {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kTick{20};    // between two looks at the clock
constexpr milliseconds kLook{100};   // and at the store
constexpr milliseconds kAwake{500};  // that the watcher stays awake after a call
constexpr milliseconds kNever{24 * 3'600'000};

// What Gloo keeps in a store, in ours.
class Store final : public gloo::rendezvous::Store {
 public:
  Store(KeyValues& key_values, const GlooOptions& options)
      : key_values_(key_values), options_(options) {}

  void set(const std::string& key, const std::vector<char>& data) override {
    key_values_.Set(Key(key), {data.data(), data.size()});
  }
  std::vector<char> get(const std::string& key) override {
    const std::string value = Wait(key, options_.join_timeout);
    return {value.begin(), value.end()};
  }
  void wait(const std::vector<std::string>& keys) override { wait(keys, options_.join_timeout); }
  void wait(const std::vector<std::string>& keys, const milliseconds& timeout) override {
    for (const std::string& key : keys) Wait(key, timeout);
  }

 private:
  std::string Key(const std::string& key) const { return StrCat(GlooPrefix(options_), "/", key); }
  std::string Wait(const std::string& key, milliseconds timeout) {
    auto value = key_values_.Get(Key(key), timeout);
    if (!value) {
      Fail(ErrorCode::kDistributed, "the address of a rank ('", key, "') did not come within ",
           timeout.count() / 1000.0, " s");
    }
    return *std::move(value);
  }

  KeyValues& key_values_;
  const GlooOptions& options_;
};

// Gloo writes to sockets that a dead rank may have closed, which by default ends the process. While
// the object lives such a write fails and nothing else; threads that start meanwhile keep it so.
class WithoutSigPipe {
 public:
  WithoutSigPipe() {
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~WithoutSigPipe() {
    constexpr timespec kNow{0, 0};
    while (!was_pending_ && sigtimedwait(&pipe_, nullptr, &kNow) == -1 && errno == EINTR) {
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  WithoutSigPipe(const WithoutSigPipe&) = delete;
  WithoutSigPipe& operator=(const WithoutSigPipe&) = delete;

 private:
  bool was_pending_ = false;
  sigset_t pipe_, before_;
};

// The first address of a name that this host can listen on. Gloo would follow a wild pointer where
// a name is not known.
std::string OwnAddress(const std::string& name) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (const int error = getaddrinfo(name.c_str(), nullptr, &hints, &found); error != 0) {
    throw std::runtime_error(gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> all(found, &freeaddrinfo);
  std::string why = "it has no address";
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    const int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool ours = fd >= 0 && bind(fd, at->ai_addr, at->ai_addrlen) == 0;
    if (!ours) why = std::strerror(errno);
    if (fd >= 0) close(fd);
    char text[NI_MAXHOST];
    if (ours && getnameinfo(at->ai_addr, at->ai_addrlen, text, sizeof text, nullptr, 0,
                            NI_NUMERICHOST) == 0) {
      return text;
    }
  }
  throw std::runtime_error(why);
}

}  // namespace

GlooWire::GlooWire(int rank, int size, std::shared_ptr<KeyValues> key_values,
                   const GlooOptions& options)
    : Wire(rank, size, std::move(key_values), GlooPrefix(options), options) {
  if (size > 1) Connect(options);
  watcher_ = std::thread([this] { Watch(); });
}

GlooWire::~GlooWire() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  call_.notify_all();
  watcher_.join();
}

void GlooWire::Connect(const GlooOptions& options) {
  const WithoutSigPipe guard;
  gloo::transport::tcp::attr attr;
  const std::string& place = options.interface;
  std::shared_ptr<gloo::transport::Device> device;
  try {
    if (if_nametoindex(place.c_str()) != 0)
      attr.iface = place;
    else
      attr.hostname = OwnAddress(place);
    device = gloo::transport::tcp::CreateDevice(attr);
  } catch (const std::exception& e) {
    Fail(ErrorCode::kDistributed, "gloo: ", label(rank()), " cannot use '", place,
         "' to talk to the others: ", e.what(),
         "; name an interface of this host, such as 'eth0', or an address that it has");
  }
  WaitForAll(options.join_timeout);
  Store store(key_values(), options);
  context_ = std::make_shared<gloo::rendezvous::Context>(rank(), size());
  context_->setTimeout(options.join_timeout);
  try {
    context_->connectFullMesh(store, device);
  } catch (const std::exception& e) {
    End(StrCat(label(rank()), " cannot connect to all others: ", e.what(), "; they must reach '",
               place, "', and no firewall may stand between"));
  }
  context_->setTimeout(kNever);
}

std::unique_ptr<Wire::Transfer> GlooWire::Start(int rank, uint64_t slot, void* data, int64_t bytes,
                                                bool receives) {
  auto transfer = std::make_unique<Buffer>(rank, receives);
  const WithoutSigPipe guard;
  try {
    transfer->of_gloo = context_->createUnboundBuffer(data, static_cast<size_t>(bytes));
    if (receives)
      transfer->of_gloo->recv(rank, slot);
    else
      transfer->of_gloo->send(rank, slot);
  } catch (const std::exception& e) {
    // Whoever left after the last call of all ranks is missed by a receive that nobody waits for.
    if (!receives) EndConnection(rank, e.what());
    transfer->refused = StrCat(e.what(), " ");  // never empty
  }
  return transfer;
}
std::unique_ptr<Wire::Transfer> GlooWire::Send(int rank, uint64_t slot, const void* data,
                                               int64_t bytes) {
  return Start(rank, slot, const_cast<void*>(data), bytes, false);
}
std::unique_ptr<Wire::Transfer> GlooWire::Receive(int rank, uint64_t slot, void* data,
                                                  int64_t bytes) {
  return Start(rank, slot, data, bytes, true);
}

void GlooWire::Wait(Transfer& transfer) {
  auto& buffer = static_cast<Buffer&>(transfer);
  if (!buffer.refused.empty()) EndConnection(transfer.rank(), buffer.refused.c_str());
  {
    std::lock_guard lock(mutex_);
    waiting_ = &buffer;
    deadline_ = steady_clock::now() + timeout_;
    expired_ = false;
    if (idle_) call_.notify_all();
  }
  std::string error;
  bool done = false, ended = false;
  while (!done && !ended && error.empty()) {
    try {
      done = buffer.receives ? buffer.of_gloo->waitRecv(nullptr, kNever)
                             : buffer.of_gloo->waitSend(nullptr, kNever);
    } catch (const std::exception& e) {
      error = StrCat(e.what(), " ");  // never empty
    }
    std::lock_guard lock(mutex_);
    ended = expired_ || !why_.empty();
  }
  bool noted = false;
  {
    std::lock_guard lock(mutex_);
    waiting_ = nullptr;
    noted = std::exchange(note_, Note::kNone) == Note::kMade;
  }
  if (noted && done) ForgetLongWait();
  CheckPause();
  if (done && !aborted_) return;
  ThrowIfAborted();
  if (!error.empty()) EndConnection(transfer.rank(), error.c_str());
  EndLate(transfer.rank());
}

void GlooWire::EndConnection(int rank, const char* error) {
  std::string_view text = error;
  while (!text.empty() && (text.back() == ' ' || text.back() == '\n')) text.remove_suffix(1);
  End(StrCat(label(rank), " closed its connection: it died or left the group (", text,
             "); see its log"));
}

void GlooWire::Wake() {
  if (waiting_ == nullptr) return;
  waiting_->receives ? waiting_->of_gloo->abortWaitRecv() : waiting_->of_gloo->abortWaitSend();
}

void GlooWire::Watch() {
  auto look = steady_clock::now() + kLook, sleep = steady_clock::now() + kAwake;
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (waiting_ == nullptr && steady_clock::now() > sleep) {
      idle_ = true;
      call_.wait(lock, [&] { return stop_ || waiting_ != nullptr; });
      idle_ = false;
    } else {
      call_.wait_for(lock, std::min<steady_clock::duration>(kTick, timeout_ / 4 + milliseconds(1)),
                     [&] { return stop_; });
    }
    const auto now = steady_clock::now();
    if (waiting_ == nullptr || stop_) continue;
    sleep = now + kAwake;
    if (note_ == Note::kNone && now >= deadline_ - timeout_ / 2 && why_.empty()) {
      const int rank = waiting_->rank();
      note_ = Note::kOnItsWay;
      lock.unlock();
      NoteLongWait(rank);
      lock.lock();
      if (note_ == Note::kOnItsWay) {
        note_ = Note::kMade;
      } else {  // the wait ended meanwhile
        lock.unlock();
        ForgetLongWait();
        lock.lock();
      }
      continue;
    }
    if (now >= look && why_.empty()) {
      lock.unlock();
      const std::string why = ReasonOfOthers();
      lock.lock();
      look = steady_clock::now() + kLook;
      if (!why.empty() && why_.empty()) {
        why_ = why;
        aborted_ = true;
      }
    }
    if (waiting_ == nullptr || (now < deadline_ && why_.empty())) continue;
    // The wait may be another one by now, with a deadline of its own.
    expired_ = steady_clock::now() >= deadline_;
    if (!expired_ && why_.empty()) continue;
    Wake();
  }
}

}  // namespace ostria
