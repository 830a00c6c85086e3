// SPDX-License-Identifier: Apache-2.0
#include "dist/flight_recorder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <typeinfo>

#include "base/check.h"
#include "base/json_string.h"

namespace ostria {
namespace {

int64_t Monotonic() { return std::chrono::steady_clock::now().time_since_epoch().count(); }
int64_t Wall() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

void AppendField(std::string& out, std::string_view name, std::string_view text) {
  AppendJsonString(out, name);
  out += ": ";
  AppendJsonString(out, text);
}
void AppendField(std::string& out, std::string_view name, int64_t number) {
  AppendJsonString(out, name);
  out += StrCat(": ", number);
}

bool Reduces(std::string_view kind) { return kind == "all_reduce" || kind == "reduce_scatter"; }

[[noreturn]] void Refuse(const char* verb, const std::string& path) {
  Fail(ErrorCode::kIo, "flight recorder: cannot ", verb, " '", path, "': ", std::strerror(errno));
}

}  // namespace

std::string_view ToString(CollectiveState state) {
  constexpr std::string_view kNames[] = {"scheduled", "started", "completed", "failed"};
  return kNames[static_cast<int>(state)];
}

FlightRecorder::FlightRecorder(FlightOptions options)
    : options_(std::move(options)), ring_(kCapacity) {
  for (FlightEntry& e : ring_) {  // so that recording allocates nothing
    e.kind.reserve(sizeof LastCollective::kind);
    e.what.reserve(sizeof LastCollective::what);
  }
  FlightEntry none;
  none.state = CollectiveState::kCompleted;
  Show(none, Monotonic());
}

FlightEntry& FlightRecorder::Add(const Call& call) {
  FlightEntry& e = ring_[static_cast<size_t>(next_ % kCapacity)];
  e.sequence = next_++;
  e.kind = call.kind;
  e.what = call.what;
  e.dtype = call.dtype;
  e.count = call.count;
  e.bytes = call.count * SizeOf(call.dtype);
  e.extra = call.extra;
  e.state = CollectiveState::kScheduled;
  e.scheduled = Monotonic();
  e.started = e.ended = 0;
  e.wall = Wall();
  e.error.clear();
  return e;
}

FlightEntry* FlightRecorder::Find(int64_t sequence) {
  FlightEntry& e = ring_[static_cast<size_t>(sequence % kCapacity)];
  return e.sequence == sequence ? &e : nullptr;  // overwritten: so many are in flight at once
}

int64_t FlightRecorder::Schedule(const Call& call) {
  std::lock_guard lock(mutex_);
  return Add(call).sequence;
}

int64_t FlightRecorder::Start(const Call& call) {
  std::lock_guard lock(mutex_);
  FlightEntry* entry = nullptr;
  first_ = std::max(first_, next_ - kCapacity);
  for (int64_t s = first_; s < next_ && entry == nullptr; ++s) {
    FlightEntry* const e = Find(s);
    const bool waits = e != nullptr && e->state == CollectiveState::kScheduled;
    if (!waits && s == first_) ++first_;
    if (waits && e->kind == call.kind && e->what == call.what && e->count == call.count) entry = e;
  }
  if (entry == nullptr) entry = &Add(call);
  entry->state = CollectiveState::kStarted;
  entry->started = Monotonic();
  Show(*entry, entry->started);
  return entry->sequence;
}

void FlightRecorder::Complete(int64_t sequence) { End(sequence, CollectiveState::kCompleted, ""); }
void FlightRecorder::Fail(int64_t sequence, std::string_view why) {
  End(sequence, CollectiveState::kFailed, why);
}
void FlightRecorder::End(int64_t sequence, CollectiveState state, std::string_view why) {
  std::lock_guard lock(mutex_);
  FlightEntry* const entry = Find(sequence);
  if (entry == nullptr) return;
  entry->state = state;
  entry->ended = Monotonic();
  entry->error = why;
  Show(*entry, entry->ended);
}

// Words of their own, so that a reader that meets a writer sees old and new ones, then looks again.
void FlightRecorder::Show(const FlightEntry& entry, int64_t now) {
  LastCollective last{};
  last.sequence = entry.sequence;
  last.changed = now;
  last.state = entry.state;
  std::memcpy(last.kind, entry.kind.data(), std::min(entry.kind.size(), sizeof last.kind - 1));
  std::memcpy(last.what, entry.what.data(), std::min(entry.what.size(), sizeof last.what - 1));
  uint64_t words[kWords] = {};
  std::memcpy(words, &last, sizeof last);
  version_.fetch_add(1);
  for (size_t i = 0; i < kWords; ++i) last_[i].store(words[i]);
  version_.fetch_add(1);
}

LastCollective FlightRecorder::Last() const {
  for (;;) {
    const uint32_t before = version_.load();
    uint64_t words[kWords];
    for (size_t i = 0; i < kWords; ++i) words[i] = last_[i].load();
    if (before % 2 == 0 && version_.load() == before) {
      LastCollective last;
      std::memcpy(&last, words, sizeof last);
      return last;
    }
  }
}

std::vector<FlightEntry> FlightRecorder::Entries() const {
  std::lock_guard lock(mutex_);
  std::vector<FlightEntry> entries;
  for (int64_t s = std::max<int64_t>(0, next_ - kCapacity); s < next_; ++s) {
    entries.push_back(ring_[static_cast<size_t>(s % kCapacity)]);
  }
  return entries;
}

std::string FlightRecorder::Json(std::string_view reason) const {
  const std::vector<FlightEntry> entries = Entries();
  std::string out = "{";
  const auto field = [&](std::string_view name, const auto& value) {
    AppendField(out, name, value);
    out += ",\n ";
  };
  field("format", "ostria flight record 1");
  field("rank", options_.rank);
  field("size", options_.size);
  field("host", options_.host);
  field("pid", getpid());
  field("transport", options_.transport);
  field("reason", reason);
  field("monotonic_ns", Monotonic());
  field("wall_ns", Wall());
  out += "\"collectives\": [";
  for (const FlightEntry& e : entries) {
    out += &e == entries.data() ? "\n  {" : ",\n  {";
    const auto part = [&](std::string_view name, const auto& value) {
      AppendField(out, name, value);
      out += ", ";
    };
    part("sequence", e.sequence);
    part("kind", e.kind);
    part("name", e.what);
    part("dtype", Name(e.dtype));
    part("count", e.count);
    part("bytes", e.bytes);
    if (Reduces(e.kind)) part("reduction", ToString(static_cast<ReduceOp>(e.extra)));
    if (e.kind == "broadcast") part("root", e.extra);
    part("state", ToString(e.state));
    if (!e.error.empty()) part("error", e.error);
    part("scheduled_ns", e.scheduled);
    part("started_ns", e.started);
    part("ended_ns", e.ended);
    AppendField(out, "wall_ns", e.wall);
    out += "}";
  }
  return out + "\n ]}\n";
}

// Written beside its place and renamed: a reader sees a whole one, even if this process is killed.
std::string FlightRecorder::Dump(std::string_view reason) const {
  const std::lock_guard lock(dumping_);
  const std::string text = Json(reason);
  std::error_code error;
  std::filesystem::create_directories(options_.folder, error);
  if (error) {
    errno = error.value();
    Refuse("make", options_.folder);
  }
  const std::string path = StrCat(options_.folder, "/rank-", options_.rank, ".json");
  const std::string draft = StrCat(path, ".", getpid());
  unlink(draft.c_str());
  const int fd = open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) Refuse("write", draft);
  size_t at = 0;
  while (at < text.size()) {
    const ssize_t n = write(fd, text.data() + at, text.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    at += static_cast<size_t>(n);
  }
  const bool whole = at == text.size();
  if (close(fd) != 0 || !whole || rename(draft.c_str(), path.c_str()) != 0) {
    const int why = errno;
    unlink(draft.c_str());
    errno = why;
    Refuse("write", path);
  }
  return path;
}

RecordedCommunicator::RecordedCommunicator(std::unique_ptr<Communicator> inner, std::string host,
                                           std::string folder)
    : inner_(std::move(inner)),
      recorder_({inner_->rank(), inner_->size(), std::move(host), std::string(inner_->transport()),
                 std::move(folder)}) {}

// A rank that ended early is told from one that was killed by its record. Where something failed
// before, the record of that is worth more.
RecordedCommunicator::~RecordedCommunicator() {
  if (!dumped_) Dump("left the group");
}

template <class Make>
void RecordedCommunicator::Record(const Call& call, const Make& make) {
  call_ = call;
  sequence_ = recorder_.Start(call);
  Try(make);
  recorder_.Complete(sequence_);
}

template <class Make>
void RecordedCommunicator::Try(const Make& make) {
  try {
    make();
  } catch (const Error& e) {
    recorder_.Fail(Sequence(), e.what());
    const std::string& folder = recorder_.options().folder;
    const bool dumped = Dump(e.what());
    if (!dumped || typeid(e) != typeid(Error)) throw;  // as what it is, such as PeerFailedError
    throw Error(e.code(), e.op(),
                StrCat(e.message(), "; `ostria explain-hang ", folder, "` compares all ranks"));
  }
}

bool RecordedCommunicator::Dump(std::string_view reason) {
  if (recorder_.options().folder.empty()) return false;
  try {
    recorder_.Dump(reason);
    dumped_ = true;
    return true;
  } catch (const Error& e) {  // the disk may be full: what matters is the reason
    if (!told_.exchange(true)) {
      std::fputs(StrCat("[ostria] ", recorder_.options().folder, " has no record of rank ",
                        recorder_.options().rank, ": ", e.message(), "\n")
                     .c_str(),
                 stderr);
    }
    return false;
  }
}

void RecordedCommunicator::AllReduce(std::string_view what, void* data, int64_t count, DType dtype,
                                     ReduceOp op, ReduceOrder order) {
  Record({"all_reduce", what, count, dtype, static_cast<int>(op)},
         [&] { inner_->AllReduce(what, data, count, dtype, op, order); });
}
void RecordedCommunicator::BeginAllReduce(std::string_view what, void* data, int64_t count,
                                          DType dtype, ReduceOp op, ReduceOrder order) {
  call_ = {"all_reduce", what, count, dtype, static_cast<int>(op)};
  sequence_ = -1;
  Try([&] { inner_->BeginAllReduce(what, data, count, dtype, op, order); });
}
bool RecordedCommunicator::Advance(bool wait) {
  if (wait) Sequence();
  bool is_done = false;
  Try([&] { is_done = inner_->Advance(wait); });
  if (is_done) recorder_.Complete(Sequence());
  return is_done;
}
// A rank that computes between the pieces is not in the call yet, whatever it has shown: others
// that wait for its next piece wait for it.
int64_t RecordedCommunicator::Sequence() {
  if (sequence_ < 0) sequence_ = recorder_.Start(call_);
  return sequence_;
}
void RecordedCommunicator::ReduceScatter(std::string_view what, const void* blocks, void* out,
                                         int64_t count, DType dtype, ReduceOp op,
                                         ReduceOrder order) {
  Record({"reduce_scatter", what, count, dtype, static_cast<int>(op)},
         [&] { inner_->ReduceScatter(what, blocks, out, count, dtype, op, order); });
}
void RecordedCommunicator::AllGather(std::string_view what, void* data, int64_t bytes) {
  Record({"all_gather", what, bytes}, [&] { inner_->AllGather(what, data, bytes); });
}
void RecordedCommunicator::Broadcast(std::string_view what, void* data, int64_t bytes, int root) {
  Record({"broadcast", what, bytes, DType::kUInt8, root},
         [&] { inner_->Broadcast(what, data, bytes, root); });
}
void RecordedCommunicator::Barrier(std::string_view what) {
  Record({"barrier", what}, [&] { inner_->Barrier(what); });
}

}  // namespace ostria
