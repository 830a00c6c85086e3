// SPDX-License-Identifier: Apache-2.0
// Gloo's connections between all ranks of a group. Waits have deadlines and end when any rank ends
// the group; whatever Gloo throws becomes an Error that names the rank.
#pragma once

#include <gloo/rendezvous/context.h>
#include <gloo/transport/unbound_buffer.h>

#include <condition_variable>
#include <thread>

#include "dist/gloo_library.h"
#include "dist/wire.h"

namespace ostria {

class GlooWire final : public Wire {
 public:
  GlooWire(int rank, int size, std::shared_ptr<KeyValues> key_values, const GlooOptions& options);
  ~GlooWire() override;

  std::unique_ptr<Transfer> Send(int rank, uint64_t slot, const void* data, int64_t bytes) override;
  std::unique_ptr<Transfer> Receive(int rank, uint64_t slot, void* data, int64_t bytes) override;
  void Wait(Transfer& transfer) override;

 private:
  struct Buffer final : Transfer {
    Buffer(int rank, bool receives) : Transfer(rank), receives(receives) {}
    const bool receives;
    std::unique_ptr<gloo::transport::UnboundBuffer> of_gloo;
    std::string refused;  // why a receive could not even begin
  };

  void Connect(const GlooOptions& options);
  std::unique_ptr<Transfer> Start(int rank, uint64_t slot, void* data, int64_t bytes,
                                  bool receives);
  [[noreturn]] void EndConnection(int rank, const char* error);
  void Watch();
  void Wake() override;

  std::shared_ptr<gloo::rendezvous::Context> context_;

  // Gloo's own timeouts close all connections, and then ranks blame each other. So waits are ended
  // by a thread that watches the clock and the store. The mutex guards what follows too.
  std::condition_variable call_;
  Buffer* waiting_ = nullptr;
  std::chrono::steady_clock::time_point deadline_;
  bool expired_ = false, stop_ = false, idle_ = false;
  enum class Note : uint8_t { kNone, kOnItsWay, kMade } note_ = Note::kNone;  // of a long wait
  std::thread watcher_;
};

}  // namespace ostria
