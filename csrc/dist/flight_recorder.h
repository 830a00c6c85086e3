// SPDX-License-Identifier: Apache-2.0
// What a rank did last: its latest 1,000 collectives with names, sizes, states and times, and no
// data. Written to a file when a call or a peer fails, or the rank leaves; `ostria explain-hang`
// reads the files of all ranks. Recording takes one uncontended lock per call.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "backend/communicator.h"
#include "dist/group.h"

namespace ostria {

enum class CollectiveState : uint8_t { kScheduled, kStarted, kCompleted, kFailed };
std::string_view ToString(CollectiveState state);

struct FlightOptions {
  int rank = 0, size = 1;
  std::string host;
  std::string transport;
  std::string folder;  // of dumps, made where missing; empty: a failure is not dumped
};

struct FlightEntry {
  int64_t sequence = -1;  // from 0; equal ones of all ranks are one collective
  std::string kind, what;
  DType dtype = DType::kUInt8;
  int64_t count = 0, bytes = 0;
  int extra = 0;  // the reduction, or the root
  CollectiveState state = CollectiveState::kScheduled;
  // Nanoseconds of the monotonic clock, 0: not yet; and of the wall clock when it was scheduled.
  int64_t scheduled = 0, started = 0, ended = 0, wall = 0;
  std::string error;  // of one that failed
};

/// The latest collective, for heartbeats. `what` may be cut off.
struct LastCollective {
  int64_t sequence;  // -1: there was none
  int64_t changed;   // when it came to this state, nanoseconds of the monotonic clock
  CollectiveState state;
  char kind[15];
  char what[96];
};

/// Of one rank. Any thread may call.
class FlightRecorder {
 public:
  static constexpr int kCapacity = 1000;

  explicit FlightRecorder(FlightOptions options);
  FlightRecorder(const FlightRecorder&) = delete;
  FlightRecorder& operator=(const FlightRecorder&) = delete;

  /// A collective that will be called later, in this order.
  int64_t Schedule(const Call& call);
  /// One that is called now: the first that was scheduled so, or else a new one.
  int64_t Start(const Call& call);
  void Complete(int64_t sequence);
  void Fail(int64_t sequence, std::string_view why);

  /// Oldest first.
  std::vector<FlightEntry> Entries() const;
  /// Takes no lock, so it answers whatever the other threads do.
  LastCollective Last() const;
  /// Everything as JSON; `reason` says why it was asked for.
  std::string Json(std::string_view reason) const;
  /// Writes Json to "<folder>/rank-<rank>.json", readable by this user alone; returns the path.
  /// Throws Error(kIo).
  std::string Dump(std::string_view reason) const;
  const FlightOptions& options() const { return options_; }

  /// The replica could not go on for so many nanoseconds because of collectives; all of them so
  /// far.
  void AddBlocked(int64_t time) { blocked_.fetch_add(time, std::memory_order_relaxed); }
  int64_t blocked() const { return blocked_.load(std::memory_order_relaxed); }

 private:
  FlightEntry& Add(const Call& call);
  FlightEntry* Find(int64_t sequence);
  void End(int64_t sequence, CollectiveState state, std::string_view why);
  void Show(const FlightEntry& entry, int64_t now);

  const FlightOptions options_;
  mutable std::mutex dumping_;  // one file at a time
  mutable std::mutex mutex_;    // guards what follows, but for the words of `last_`
  std::vector<FlightEntry> ring_;
  int64_t next_ = 0;   // sequence of the next one
  int64_t first_ = 0;  // no scheduled one before it
  static constexpr size_t kWords = (sizeof(LastCollective) + 7) / 8;
  std::atomic<uint32_t> version_{0};  // odd while the words change
  std::array<std::atomic<uint64_t>, kWords> last_{};
  std::atomic<int64_t> blocked_{0};
};

/// A communicator that records every call, then makes it of another.
class RecordedCommunicator final : public Communicator {
 public:
  RecordedCommunicator(std::unique_ptr<Communicator> inner, std::string host, std::string folder);
  /// Leaves the group, and a record of it where none was written.
  ~RecordedCommunicator() override;
  FlightRecorder& recorder() { return recorder_; }
  /// Writes the record where it has a folder, and says whether it did. From any thread, whatever
  /// the others wait for.
  bool Dump(std::string_view reason);

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string_view transport() const override { return inner_->transport(); }
  void AllReduce(std::string_view what, void* data, int64_t count, DType dtype, ReduceOp op,
                 ReduceOrder order) override;
  void ReduceScatter(std::string_view what, const void* blocks, void* out, int64_t count,
                     DType dtype, ReduceOp op, ReduceOrder order) override;
  void AllGather(std::string_view what, void* data, int64_t bytes) override;
  void Broadcast(std::string_view what, void* data, int64_t bytes, int root) override;
  void Barrier(std::string_view what) override;
  bool has_pieces() const override { return inner_->has_pieces(); }
  void BeginAllReduce(std::string_view what, void* data, int64_t count, DType dtype, ReduceOp op,
                      ReduceOrder order) override;
  bool Advance(bool wait) override;
  void Abort(const std::string& why) override { inner_->Abort(why); }
  void set_timeout(std::chrono::milliseconds timeout) override { inner_->set_timeout(timeout); }

 private:
  template <class Make>
  void Record(const Call& call, const Make& make);
  template <class Make>
  void Try(const Make& make);
  int64_t Sequence();

  std::unique_ptr<Communicator> inner_;
  FlightRecorder recorder_;
  Call call_;              // the latest
  int64_t sequence_ = -1;  // its number, once this rank is in it
  std::atomic<bool> dumped_{false};
  std::atomic<bool> told_{false};  // that a record cannot be written
};

}  // namespace ostria
