// SPDX-License-Identifier: Apache-2.0
// The ranks of one group that this process has. What one fails of ends all: NCCL wants all its
// communicators of a process aborted at once. A thread asks NCCL for errors while work is under
// way, and whether the work moves; nobody else waits for NCCL without a deadline.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "backend/cuda/nccl/rank.h"

namespace ostria::cuda {

class NcclGroup {
 public:
  /// Joins: see Backend::Connect.
  static std::shared_ptr<NcclGroup> Make(std::span<const int> ordinals,
                                         std::vector<std::unique_ptr<Communicator>> hosts,
                                         std::chrono::milliseconds timeout);
  ~NcclGroup();
  NcclGroup(const NcclGroup&) = delete;
  NcclGroup& operator=(const NcclGroup&) = delete;

  NcclRank& rank(size_t i) { return *ranks_[i]; }
  std::chrono::milliseconds timeout() const;
  void set_timeout(std::chrono::milliseconds timeout);

  void BeginRun(NcclRank& rank);
  void EndRun(NcclRank& rank, std::shared_ptr<const Event> done);
  /// Ends the group because of `why`, once: host calls and collectives of all ranks end, and what a
  /// device holds that was at work is lost.
  void Fail(const std::string& why);
  void ThrowIfFailed(std::string_view what) const;

 private:
  explicit NcclGroup(std::chrono::milliseconds timeout) : timeout_(timeout) {}
  void Join(NcclRank& rank, std::chrono::steady_clock::time_point deadline);
  void Watch();
  /// Why the group has failed as the devices see it; empty: it has not.
  std::string Examine();
  std::string ErrorOf(NcclRank& rank);
  std::string Overdue(std::chrono::steady_clock::time_point now);
  /// Tells NCCL, in a thread of its own: it returns when no recording holds a communicator.
  void AbortAll();
  bool Finalised();

  std::vector<std::unique_ptr<NcclRank>> ranks_;
  mutable std::mutex mutex_;  // guards what follows, and what ranks say that it does
  std::condition_variable changed_;
  std::chrono::milliseconds timeout_;
  std::string why_;  // of Fail
  bool stop_ = false;
  std::thread watcher_;
};

}  // namespace ostria::cuda
