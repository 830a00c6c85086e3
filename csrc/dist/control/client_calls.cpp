// SPDX-License-Identifier: Apache-2.0
// The client's half that other threads call: requests, waits and progress.
#include <algorithm>

#include "dist/control/client.h"

namespace ostria::control {
namespace {

// What of `lines` fits into one message.
std::string EncodeLines(uint64_t id, const std::string& name, const std::vector<std::string>& lines,
                        uint32_t generation) {
  Lines message{id, name, {}};
  size_t left = MaxBody(MessageType::kLines) - 4096;
  for (const std::string& line : lines) {
    std::string clipped = Clip(line, Lines::kMaxLine);
    if (message.lines.size() == Lines::kMaxLines || clipped.size() + 4 > left) break;
    left -= clipped.size() + 4;
    message.lines.push_back(std::move(clipped));
  }
  return Encode(message, generation);
}

Request ForKey(RequestKind kind, std::string key) {
  Request request;
  request.kind = kind;
  request.key = std::move(key);
  return request;
}

int64_t Nanoseconds() {
  return Time::clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

std::string Quoted(std::string_view what, const std::string& name) {
  return StrCat(what, " '", Clip(name, 80), "'");
}

}  // namespace

// Waits for `done` under `lock`; the server answers within `timeout`, and where it does not it is
// lost within timers.dead.
void Client::Await(std::unique_lock<std::mutex>& lock, const std::string& op, Waits waits,
                   ms timeout, const std::function<bool()>& done) {
  const auto over = [&] { return done() || !open_ || (waits == Waits::kYes && failure_); };
  const Time deadline = Time::clock::now() + timeout + options_.timers.dead + ms(1000);
  while (options_.interrupt &&
         !changed_.wait_until(lock, std::min(deadline, Time::clock::now() + ms(100)), over)) {
    if (Time::clock::now() >= deadline) break;
    lock.unlock();
    const struct Relock {  // also where it throws: callers clean up under the lock
      std::unique_lock<std::mutex>& lock;
      ~Relock() { lock.lock(); }
    } relock{lock};
    options_.interrupt();
  }
  if (!changed_.wait_until(lock, deadline, over)) {
    throw Error(
        ErrorCode::kDistributed, op,
        StrCat(Where(), " did not answer within ", ToString(timeout + options_.timers.dead)));
  }
  if (done()) return;
  if (failure_) throw PeerFailedError(op, *failure_);
  throw Error(ErrorCode::kDistributed, op, StrCat("rank ", options_.rank, " has left ", Where()));
}

Reply Client::Call(Request request, const std::string& op, Waits waits, ms timeout,
                   const std::vector<std::string>* lines) {
  if (std::this_thread::get_id() ==
      thread_.get_id()) {  // a handler: only this thread reads replies
    throw Error(ErrorCode::kDistributed, op, "the channel's own thread cannot wait for the store");
  }
  request.timeout_ms = timeout.count();
  std::unique_lock lock(mutex_);
  if (waits == Waits::kYes && failure_) throw PeerFailedError(op, *failure_);
  request.id = next_id_++;
  std::string bytes;
  try {
    bytes = Encode(request, options_.generation);
  } catch (const Error& e) {
    throw Error(e.code(), op, e.message());
  }
  queued_ += bytes;
  Wake();
  pending_[request.id];
  const Erase erase{pending_, request.id};
  const Pending& mine = pending_[request.id];
  Await(lock, op, waits, timeout, [&] { return mine.done || mine.wants_lines; });
  if (!mine.done && lines != nullptr) {
    queued_ += EncodeLines(request.id, request.key, *lines, options_.generation);
    Wake();
    Await(lock, op, waits, timeout, [&] { return mine.done; });
  }
  const Reply& reply = mine.reply;
  switch (reply.status) {
    case ReplyStatus::kOk:
    case ReplyStatus::kAbsent:
    case ReplyStatus::kSendLines: break;
    case ReplyStatus::kRefused: throw Error(ErrorCode::kInvalidArgument, op, reply.value);
    case ReplyStatus::kTimeout:
      if (request.kind == RequestKind::kGet) break;
      [[fallthrough]];
    case ReplyStatus::kDisagree: throw Error(ErrorCode::kDistributed, op, reply.value);
    case ReplyStatus::kPeerFailed:
      throw PeerFailedError(op, failure_.value_or(PeerFailure{-1, "", 0, "a rank failed", ""}));
  }
  return std::move(pending_[request.id].reply);
}

std::vector<Member> Client::Join(std::vector<std::string> addresses) {
  const std::string op = StrCat("join of rank ", options_.rank);
  std::unique_lock lock(mutex_);
  if (failure_) throw PeerFailedError(op, *failure_);
  const uint64_t id = next_id_++;
  queued_ += Encode(control::Join{id, std::move(addresses)}, options_.generation);
  Wake();
  pending_[id];
  const Erase erase{pending_, id};
  // The server's time began earlier, so its answer, which names the missing, comes first.
  Await(lock, op, Waits::kYes, options_.timers.join,
        [&] { return members_.has_value() || pending_[id].done; });
  const Reply& reply = pending_[id].reply;
  if (members_) return members_->members;
  if (failure_) throw PeerFailedError(op, *failure_);
  throw Error(ErrorCode::kDistributed, op, reply.value);
}

void Client::Set(const std::string& key, const std::string& value) {
  Request request = ForKey(RequestKind::kSet, key);
  request.value = value;
  Call(std::move(request), Quoted("store set", key));
}

std::optional<std::string> Client::TryGet(const std::string& key) {
  Reply reply = Call(ForKey(RequestKind::kGet, key), Quoted("store get", key));
  if (reply.status == ReplyStatus::kAbsent) return std::nullopt;
  return std::move(reply.value);
}

std::string Client::Get(const std::string& key, ms timeout) {
  if (auto value = WaitFor(key, timeout)) return std::move(*value);
  throw Error(ErrorCode::kDistributed, Quoted("store get", key),
              StrCat("nobody set it within ", ToString(timeout)));
}

std::optional<std::string> Client::WaitFor(const std::string& key, ms timeout) {
  Request request = ForKey(RequestKind::kGet, key);
  request.number = 1;
  Reply reply = Call(std::move(request), Quoted("store get", key), Waits::kYes, timeout);
  if (reply.status == ReplyStatus::kTimeout) return std::nullopt;
  return std::move(reply.value);
}

int64_t Client::Add(const std::string& key, int64_t number) {
  Request request = ForKey(RequestKind::kAdd, key);
  request.number = number;
  return Call(std::move(request), Quoted("store add", key)).number;
}

void Client::Barrier(const std::string& name, ms timeout) {
  Call(ForKey(RequestKind::kBarrier, name), Quoted("barrier", name), Waits::kYes, timeout);
}

void Client::Agree(const std::string& name, const std::string& fingerprint,
                   const std::vector<std::string>& lines, ms timeout) {
  Request request = ForKey(RequestKind::kAgree, name);
  request.value = fingerprint;
  Call(std::move(request), Quoted("agree", name), Waits::kYes, timeout, &lines);
}

void Client::Enter(uint64_t number, std::string_view name) {
  const std::lock_guard lock(progress_mutex_);
  progress_.number = number;
  progress_.name.assign(name.substr(0, kMaxOperation));
  progress_.inside = true;
}

void Client::Exit() {
  const std::lock_guard lock(progress_mutex_);
  progress_.inside = false;
}

// Of the replica that waits least: the others of this process wait for it.
int64_t Client::Blocked() const {
  int64_t least = INT64_MAX;
  for (const auto& [token, source] : sources_) {
    if (source.blocked) least = std::min(least, source.blocked());
  }
  return least == INT64_MAX ? 0 : least;
}

void Client::SetBusy(std::string_view with) {
  const std::lock_guard lock(progress_mutex_);
  progress_.busy.assign(with.substr(0, kMaxOperation));
}

void Client::BeginStep() {
  const std::lock_guard lock(progress_mutex_);
  clock_.Begin(Nanoseconds(), Blocked());
}

void Client::EndStep(bool counts, bool opaque) {
  const std::lock_guard lock(progress_mutex_);
  ++progress_.steps;
  clock_.End(Nanoseconds(), Blocked(), counts, opaque);
}

void Client::Read(std::chrono::nanoseconds waited, std::chrono::nanoseconds ahead) {
  const std::lock_guard lock(progress_mutex_);
  clock_.Read(waited.count(), ahead.count());
}

void Client::Skip(std::chrono::nanoseconds time) {
  const std::lock_guard lock(progress_mutex_);
  clock_.Skip(time.count());
}

int Client::AddProgressSource(std::function<Progress()> source, std::function<int64_t()> blocked) {
  const std::lock_guard lock(progress_mutex_);
  sources_[next_source_] = {std::move(source), std::move(blocked)};
  return next_source_++;
}

void Client::RemoveProgressSource(int token) {
  const std::lock_guard lock(progress_mutex_);
  const auto source = sources_.find(token);
  if (source == sources_.end()) return;
  if (sources_.size() == 1) {  // a rank that leaves next has done this, though its group is gone
    Progress done = source->second.progress();
    done.inside = false;
    done.steps = progress_.steps;
    done.busy = progress_.busy;
    progress_ = std::move(done);
  }
  sources_.erase(source);
}

void Client::PostFailure(const std::string& reason, const std::string& operation,
                         bool consequence) {
  Request request = ForKey(RequestKind::kFail, "");
  request.value = Clip(reason, kMaxReason);
  request.operation = Clip(operation, kMaxOperation);
  request.number = consequence ? 1 : 0;
  Call(std::move(request), "post a failure");
}

void Client::Report(int rank, const std::string& reason) {
  Request request = ForKey(RequestKind::kFail, "");
  request.value = Clip(reason, kMaxReason);
  request.number = rank;
  Call(std::move(request), "report a failure");
}

std::vector<PeerFailure> Client::Failures() {
  std::vector<PeerFailure> failures;
  for (const std::string& entry : Call(ForKey(RequestKind::kFailures, ""), "list failures").list) {
    const auto failure =
        Decode<Failure>({reinterpret_cast<const uint8_t*>(entry.data()), entry.size()});
    if (failure) failures.push_back(failure->failure);
  }
  return failures;
}

std::vector<RankPace> Client::Paces() {
  std::vector<RankPace> paces;
  for (const std::string& entry : Call(ForKey(RequestKind::kPaces, ""), "list paces").list) {
    const auto pace =
        Decode<RankPace>({reinterpret_cast<const uint8_t*>(entry.data()), entry.size()});
    if (pace) paces.push_back(*pace);
  }
  return paces;
}

std::optional<PeerFailure> Client::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

bool Client::WaitForFailure(ms timeout) const {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, timeout, [&] { return failure_ || !open_ || stop_; });
  return failure_.has_value();
}

int Client::AddHandler(Handler handler) {
  const std::lock_guard lock(handlers_mutex_);
  if (handled_) {
    handler(*failure());
    return -1;
  }
  handlers_[next_token_] = std::move(handler);
  return next_token_++;
}

void Client::RemoveHandler(int token) {
  const std::lock_guard lock(handlers_mutex_);
  handlers_.erase(token);
}

void Client::Leave() {
  std::string beat = Encode(Beat(), options_.generation);  // its last progress comes before it
  {
    const std::lock_guard lock(mutex_);
    if (!open_ || leaving_) return;
    leaving_ = true;  // the store may end at once
    queued_ += beat;
  }
  try {
    Call(ForKey(RequestKind::kLeave, ""), "leave");
  } catch (const Error&) {  // it has ended, and nobody is left to be told
  }
  const std::lock_guard lock(mutex_);
  open_ = false;
  changed_.notify_all();
  Wake();
}

}  // namespace ostria::control
