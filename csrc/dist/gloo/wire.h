// SPDX-License-Identifier: Apache-2.0
// Connections between all ranks of a group, and bytes over them. Waits have deadlines and end when
// any rank ends the group; whatever Gloo throws becomes an Error that names the rank.
#pragma once

#include <gloo/rendezvous/context.h>
#include <gloo/transport/unbound_buffer.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "dist/gloo_library.h"

namespace ostria {

/// Bytes on their way to or from one rank.
struct Transfer {
  int rank = 0;
  bool receives = false;
  std::unique_ptr<gloo::transport::UnboundBuffer> buffer;
};

class Wire {
 public:
  Wire(int rank, int size, std::shared_ptr<KeyValues> key_values, const GlooOptions& options);
  ~Wire();
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  const std::string& label(int rank) const { return labels_[static_cast<size_t>(rank)]; }
  /// Errors name it from here on.
  void Begin(std::string_view what);
  void set_timeout(std::chrono::milliseconds timeout);

  /// Starts to move `bytes`. Both sides must give the same `slot` and the same number of bytes:
  /// Gloo ends the process where they differ, so compare calls first.
  Transfer Send(int rank, uint64_t slot, const void* data, int64_t bytes);
  Transfer Receive(int rank, uint64_t slot, void* data, int64_t bytes);
  /// Returns when it is done. Throws Error(kDistributed) within the timeout.
  void Wait(Transfer& transfer);

  void Abort(const std::string& why);
  /// Ends the group for all ranks, and throws; with an earlier reason where some rank gave one.
  [[noreturn]] void End(const std::string& why);

 private:
  void Connect(const GlooOptions& options);
  void WaitForAll(const GlooOptions& options);
  Transfer Start(int rank, uint64_t slot, void* data, int64_t bytes, bool receives);
  [[noreturn]] void EndConnection(int rank, const char* error);
  void ThrowIfAborted();
  void Watch();
  std::string ReasonOfOthers();  // empty: none
  void CheckPause();

  const int rank_, size_;
  const std::shared_ptr<KeyValues> key_values_;
  const std::string abort_key_;
  const std::vector<std::string> labels_;
  std::string what_ = "gloo";
  std::chrono::steady_clock::time_point awake_ = std::chrono::steady_clock::now();
  std::shared_ptr<gloo::rendezvous::Context> context_;

  // Gloo's own timeouts close all connections, and then ranks blame each other. So waits are ended
  // by a thread that watches the clock and the store.
  std::mutex mutex_;  // guards what follows
  std::chrono::milliseconds timeout_;
  std::condition_variable call_;
  Transfer* waiting_ = nullptr;
  std::chrono::steady_clock::time_point deadline_;
  bool expired_ = false, stop_ = false, idle_ = false;
  std::string why_;  // of Abort
  std::atomic<bool> aborted_ = false;
  std::thread watcher_;
};

}  // namespace ostria
