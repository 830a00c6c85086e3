// SPDX-License-Identifier: Apache-2.0
// Bytes between all ranks of a group, whatever library moves them: `gloo` and `mpi` are such. What
// wires share is here: who is waited for at the start, and that the first who knows why a group
// ends tells all others through the store.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "dist/group.h"
#include "dist/key_values.h"

namespace ostria {

class Wire {
 public:
  /// Bytes on their way to or from one rank. Must end before the wire does.
  class Transfer {
   public:
    explicit Transfer(int rank) : rank_(rank) {}
    virtual ~Transfer() = default;
    Transfer(const Transfer&) = delete;
    Transfer& operator=(const Transfer&) = delete;
    int rank() const { return rank_; }

   private:
    const int rank_;
  };

  /// `prefix` of the group's keys.
  Wire(int rank, int size, std::shared_ptr<KeyValues> key_values, std::string prefix,
       const GroupOptions& options);
  virtual ~Wire() = default;
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  const std::string& label(int rank) const { return labels_[static_cast<size_t>(rank)]; }
  /// Errors name it from here on.
  void Begin(std::string_view what);
  void set_timeout(std::chrono::milliseconds timeout);

  /// Starts to move `bytes`. Both sides must give the same `slot` and the same number of bytes, and
  /// the same order of slots between two ranks; compare calls first, since libraries do not.
  virtual std::unique_ptr<Transfer> Send(int rank, uint64_t slot, const void* data,
                                         int64_t bytes) = 0;
  virtual std::unique_ptr<Transfer> Receive(int rank, uint64_t slot, void* data, int64_t bytes) = 0;
  /// Returns when it is done. Throws Error(kDistributed) within the timeout.
  virtual void Wait(Transfer& transfer) = 0;

  /// Any thread may call it.
  void Abort(const std::string& why);
  /// Ends the group for all ranks, and throws; with an earlier reason where some rank gave one.
  [[noreturn]] void End(const std::string& why);

 protected:
  /// Until all ranks are here; ends the group where some are not, within the options' join_timeout.
  void WaitForAll(std::chrono::milliseconds join_timeout);
  std::chrono::milliseconds timeout();
  /// A wait for `rank` takes half of the timeout already: the others, who may come late because of
  /// it, learn whom this rank waits for; until ForgetLongWait.
  void NoteLongWait(int rank);
  void ForgetLongWait();
  /// Ends the group: `rank`, or whom it waits for itself, did not come within the timeout.
  [[noreturn]] void EndLate(int rank);
  void ThrowIfAborted();
  /// A process that was stopped for long may find all bytes there, from ranks that gave it up
  /// since: it asks the store.
  void CheckPause();
  std::string ReasonOfOthers();  // empty: none
  /// A wait in progress shall look at why_; called with the mutex held.
  virtual void Wake() = 0;

  KeyValues& key_values() { return *key_values_; }
  const std::string& prefix() const { return prefix_; }

  std::mutex mutex_;  // guards what follows
  std::chrono::milliseconds timeout_;
  std::string why_;  // of Abort
  std::atomic<bool> aborted_ = false;

 private:
  /// Whom `rank` waits for, and that one in turn; `rank` itself where it waits for nobody.
  int CauseOf(int rank);
  void SayWait(const std::string& rank);

  const int rank_, size_;
  const std::shared_ptr<KeyValues> key_values_;
  const std::string prefix_;
  const std::vector<std::string> labels_;
  std::string what_;
  std::chrono::steady_clock::time_point awake_ = std::chrono::steady_clock::now();
};

/// The key under which a group of wires keeps the reason of its end.
std::string AbortKey(std::string_view prefix);
/// Ends such a group from outside: its ranks throw with `why`, unless there was a reason before.
void AbortWires(KeyValues& key_values, std::string_view prefix, const std::string& why);

}  // namespace ostria
