// SPDX-License-Identifier: Apache-2.0
// The replicas of one process: a device and a thread for each, kept from step to step (the caller's
// where there is one replica), and what they talk through. It knows no graph. Runs of all groups of
// a process take turns: their replicas share activation regions, and two groups that wait for each
// other's would wait for ever.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "backend/communicator.h"
#include "base/error.h"
#include "base/thread_share.h"
#include "core/device.h"

namespace ostria {

struct ReplicaOptions {
  /// Threads that each replica computes with; 0: its share of those of the thread that makes the
  /// group.
  int threads_each = 0;
  /// Of the reductions that graphs make.
  ReduceOrder order = ReduceOrder::kAny;
};
/// Of replicas that compute the same bits wherever they run: nothing depends on how many of them
/// share a process.
inline constexpr ReplicaOptions kReproducible = {.threads_each = 1, .order = ReduceOrder::kTree};

class ReplicaGroup {
 public:
  /// Makes a communicator for each replica of this process; they may have ranks elsewhere too.
  using Connect = std::function<std::vector<std::unique_ptr<Communicator>>()>;
  /// Throws Error(kInvalidArgument) when there is no device, one is named twice, or they are of
  /// different kinds, and Error(kDeviceUnavailable) when one is not there. `connect` is called by
  /// the first run, and by the first one after an error.
  ReplicaGroup(std::vector<DeviceId> devices, Connect connect, ReplicaOptions options = {});
  ~ReplicaGroup();
  ReplicaGroup(const ReplicaGroup&) = delete;
  ReplicaGroup& operator=(const ReplicaGroup&) = delete;

  std::span<const DeviceId> devices() const { return devices_; }
  int size() const { return static_cast<int>(devices_.size()); }
  /// Threads that each replica computes with.
  int threads_each() const { return threads_each_; }

  /// Calls fn(i) for every replica of this process, each in its thread (a lone one in the
  /// caller's), where Communicator::Current() is its own; returns when all are done. When one
  /// throws, the others are aborted, and the error that came first is thrown, with rank and device;
  /// one of communication only where there is no other.
  void Run(FunctionRef<void(int)> fn);

 private:
  void Serve(int replica);
  void RunOne(int replica, FunctionRef<void(int)> fn);
  void RunHere(FunctionRef<void(int)> fn);
  void RunInThreads(FunctionRef<void(int)> fn);
  void NoteError(int replica, const std::exception_ptr& error);

  const std::vector<DeviceId> devices_;
  const Connect connect_;
  const pid_t process_;
  const int threads_each_;
  const ReduceOrder order_;
  std::vector<std::unique_ptr<Communicator>> communicators_;  // of the run; empty after an error

  std::mutex mutex_;  // guards what follows
  std::condition_variable work_, done_;
  const FunctionRef<void(int)>* fn_ = nullptr;
  int64_t turn_ = 0;
  int running_ = 0;
  bool stop_ = false;
  std::exception_ptr error_;          // the first one
  bool has_cause_ = false;            // it is none of communication
  std::vector<std::thread> threads_;  // last: they use all else
};

}  // namespace ostria
