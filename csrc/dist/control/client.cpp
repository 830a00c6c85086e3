// SPDX-License-Identifier: Apache-2.0
#include "dist/control/client.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "dist/control/handshake.h"

namespace ostria::control {
namespace {

using std::chrono::milliseconds;

std::span<const uint8_t> AsBytes(const std::string& s) {
  return {reinterpret_cast<const uint8_t*>(s.data()), s.size()};
}

int PollTimeout(Time until) {
  const auto left = std::chrono::ceil<milliseconds>(until - Time::clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, 60'000));
}

// A server that is not there yet, or not yet of this generation, may be soon.
bool MayPass(Refused reason) {
  return reason == Refused::kNewer || reason == Refused::kSilent || reason == Refused::kCrowded ||
         reason == Refused::kClosing;
}

struct TryAgain {
  std::string why;
};

}  // namespace

Client::Client(ClientOptions options, const Secret& secret) : options_(std::move(options)) {
  Check(options_.timers);
  if (options_.host_name.empty()) options_.host_name = HostName();
  options_.host_name = Clip(options_.host_name, kMaxName);
  wake_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_.valid()) Fail(ErrorCode::kDistributed, "control channel: ", std::strerror(errno));
  Handshake(secret);
  heard_ = Time::clock::now();
  thread_ = std::thread([this] {
    Run();
    shutdown(fd_.get(), SHUT_RDWR);  // whoever waits for the end of it need not wait for us
  });
}

Client::~Client() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  Wake();
  thread_.join();
}

void Client::Wake() const {
  const uint64_t one = 1;
  if (write(wake_.get(), &one, sizeof(one)) < 0) return;  // full: it wakes anyway
}

std::string Client::Where() const {
  return StrCat("the store at ", ToString(options_.host, options_.port));
}

void Client::Handshake(const Secret& secret) {
  const Time deadline = Time::clock::now() + options_.timers.join;
  const auto send_all = [&](const std::string& bytes, Time until) {
    size_t sent = 0;
    while (sent < bytes.size()) {
      const ssize_t n = send(fd_.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (n > 0) {
        sent += static_cast<size_t>(n);
        continue;
      }
      if (errno != EAGAIN && errno != EINTR) throw TryAgain{"closed the connection"};
      if (!WaitReady(fd_.get(), POLLOUT, until, options_.interrupt)) {
        throw TryAgain{"does not read"};
      }
    }
  };
  Hello hello{options_.job, options_.role, options_.rank, options_.world, {}};
  while (true) {
    fd_ = ConnectTo(options_.host, options_.port, deadline, options_.interrupt);
    input_.clear();
    try {
      const Time until = std::min(deadline, Time::clock::now() + 2 * options_.timers.authenticate);
      hello.nonce = RandomNonce();
      send_all(Encode(hello, options_.generation), until);
      Frame frame = ReadFrame(&input_, until);
      const auto challenge = Decode<Challenge>(frame.body);
      if (frame.header.type != MessageType::kChallenge || !challenge) {
        Fail(ErrorCode::kDistributed, Where(), " does not follow the protocol");
      }
      const auto transcript = [&](Side side) {
        return Transcript(side, hello, options_.generation, challenge->nonce);
      };
      if (!secret.Verify(challenge->mac, transcript(Side::kServer))) {
        Fail(ErrorCode::kDistributed, Where(),
             " refused (wrong secret): it does not know the secret "
             "of job '",
             options_.job, "' that this process has; give all processes the same one");
      }
      input_.erase(0, frame.size());
      send_all(Encode(Proof{secret.Hmac(transcript(Side::kClient)), options_.host_name, getpid()},
                      options_.generation),
               until);
      frame = ReadFrame(&input_, until);
      const auto welcome = Decode<Welcome>(frame.body);
      if (frame.header.type != MessageType::kWelcome || !welcome) {
        Fail(ErrorCode::kDistributed, Where(), " does not follow the protocol");
      }
      server_ = *welcome;
      input_.erase(0, frame.size());
      return;
    } catch (const TryAgain& again) {
      if (Time::clock::now() + milliseconds(50) >= deadline) {
        Fail(ErrorCode::kDistributed, Where(), " ", again.why, "; tried for ",
             ToString(options_.timers.join),
             "; see whether rank 0 runs there, and whether this process was given its address");
      }
      WaitReady(-1, 0, Time::clock::now() + milliseconds(50), options_.interrupt);
    }
  }
}

// The next message of the handshake, or what its refusal says.
Frame Client::ReadFrame(std::string* buffer, Time deadline) {
  while (true) {
    const Frame frame = ParseFrame(AsBytes(*buffer));
    if (frame.status == Frame::Status::kComplete) {
      if (frame.header.type != MessageType::kRefusal) return frame;
      const auto refusal = Decode<Refusal>(frame.body);
      if (!refusal) Fail(ErrorCode::kDistributed, Where(), " sent a damaged refusal");
      if (MayPass(refusal->reason)) throw TryAgain{refusal->text};
      Fail(ErrorCode::kDistributed, Where(), " refused rank ", options_.rank, " of job '",
           options_.job, "' (", ToString(refusal->reason), "): ", refusal->text);
    }
    if (frame.status != Frame::Status::kIncomplete) {
      Fail(ErrorCode::kDistributed, Where(), " is no store of Ostria's, or one of another version");
    }
    std::array<char, 4096> bytes;
    const ssize_t n = recv(fd_.get(), bytes.data(), bytes.size(), 0);
    if (n > 0) {
      buffer->append(bytes.data(), static_cast<size_t>(n));
      continue;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR)) throw TryAgain{"closed the connection"};
    if (!WaitReady(fd_.get(), POLLIN, deadline, options_.interrupt)) {
      throw TryAgain{"does not answer"};
    }
  }
}

// --- The channel's thread
// -------------------------------------------------------------------------

Heartbeat Client::Beat() {
  const std::lock_guard lock(progress_mutex_);
  Heartbeat beat{progress_, clock_.pace()};
  bool first = true;
  for (const auto& [token, source] : sources_) {
    Progress progress = source.progress();
    if (first || progress.number < beat.progress.number) beat.progress = std::move(progress);
    first = false;
  }
  beat.progress.steps = progress_.steps;
  beat.progress.busy = progress_.busy;
  return beat;
}

void Client::Run() {
  const Timers& timers = options_.timers;
  Time next = Time::clock::now(), last = next;
  while (true) {
    const Time now = Time::clock::now();
    if (now - last > timers.suspect) heard_ = now;  // it was this process that did not run
    last = now;
    if (now >= next) {
      output_ += Encode(Beat(), options_.generation);
      next = now + timers.heartbeat;
    }
    {
      const std::lock_guard lock(mutex_);
      if (stop_ || !open_) return;
      output_ += queued_;
      queued_.clear();
    }
    const auto lose = [&](const std::string& reason) {
      {
        const std::lock_guard lock(mutex_);
        open_ = false;
      }
      Lose({server_.rank, server_.host, server_.pid, StrCat(reason, "; it serves the store"), ""});
    };
    if (!WriteSome()) return lose("its connection broke");
    pollfd waits[] = {
        {fd_.get(), static_cast<int16_t>(output_.empty() ? POLLIN : POLLIN | POLLOUT), 0},
        {wake_.get(), POLLIN, 0}};
    poll(waits, 2, PollTimeout(std::min(next, heard_ + timers.dead)));
    if (waits[1].revents != 0) {
      uint64_t count = 0;
      while (read(wake_.get(), &count, sizeof(count)) > 0) {
      }
    }
    if (waits[0].revents != 0 && !ReadSome()) {
      return lose("its connection closed: the process was killed, crashed or ended early");
    }
    if (Time::clock::now() - heard_ >= timers.dead && Time::clock::now() - now < timers.suspect) {
      return lose(StrCat("no answer for ", ToString(timers.dead),
                         "; it is stopped, or cut off from the network"));
    }
  }
}

bool Client::WriteSome() {
  size_t sent = 0;
  while (sent < output_.size()) {
    const ssize_t n = send(fd_.get(), output_.data() + sent, output_.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    // A refusal may lie in the way of a broken connection, so reading decides.
    if (n < 0 && errno != EAGAIN) {
      output_.clear();
      return ReadSome();
    }
    if (n < 0) break;
    sent += static_cast<size_t>(n);
  }
  output_.erase(0, sent);
  return true;
}

// False where the connection is over.
bool Client::ReadSome() {
  std::array<char, 65536> bytes;
  bool open = true;
  while (true) {
    const ssize_t n = recv(fd_.get(), bytes.data(), bytes.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n <= 0) {
      open = false;
      break;
    }
    heard_ = Time::clock::now();
    input_.append(bytes.data(), static_cast<size_t>(n));
    if (static_cast<size_t>(n) < bytes.size()) break;
  }
  size_t done = 0;
  while (true) {
    const Frame frame = ParseFrame(AsBytes(input_).subspan(done));
    if (frame.status == Frame::Status::kIncomplete) break;
    if (frame.status != Frame::Status::kComplete) return false;
    Take(frame);
    done += frame.size();
  }
  input_.erase(0, done);
  return open;
}

void Client::Take(const Frame& frame) {
  switch (frame.header.type) {
    case MessageType::kReply:
      if (auto reply = Decode<Reply>(frame.body)) {
        const std::lock_guard lock(mutex_);
        const auto at = pending_.find(reply->id);
        if (at == pending_.end()) return;  // its caller has gone
        if (reply->status == ReplyStatus::kSendLines) {
          at->second.wants_lines = true;
        } else {
          at->second.done = true;
          at->second.reply = std::move(*reply);
        }
        changed_.notify_all();
      }
      return;
    case MessageType::kMembers:
      if (auto members = Decode<Members>(frame.body)) {
        const std::lock_guard lock(mutex_);
        members_ = std::move(*members);
        changed_.notify_all();
      }
      return;
    case MessageType::kFailure:
      if (auto failure = Decode<Failure>(frame.body)) Lose(std::move(failure->failure));
      return;
    case MessageType::kRefusal:
      if (const auto refusal = Decode<Refusal>(frame.body)) {
        {
          const std::lock_guard lock(mutex_);
          open_ = false;
        }
        if (refusal->reason == Refused::kClosing)
          Lose({server_.rank, server_.host, server_.pid, refusal->text, ""});
        else
          Lose({options_.rank, options_.host_name, getpid(),
                StrCat("refused (", ToString(refusal->reason), "): ", refusal->text), ""});
      }
      return;
    default: return;  // a heartbeat's reply says enough by coming
  }
}

// The generation is over for this process.
void Client::Lose(PeerFailure failure) {
  {
    const std::lock_guard lock(mutex_);
    if (leaving_ || failure_) {
      changed_.notify_all();
      return;
    }
    failure_ = failure;
    changed_.notify_all();
  }
  const std::lock_guard lock(handlers_mutex_);
  handled_ = true;
  for (const auto& [token, handler] : handlers_) {
    try {
      handler(failure);
    } catch (const std::exception&) {  // the others have to run, and nobody is there to be told
    }
  }
}

}  // namespace ostria::control
