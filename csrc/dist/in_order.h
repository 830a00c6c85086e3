// SPDX-License-Identifier: Apache-2.0
// What communicators share that make some calls later than they were started: a queue of those, in
// the order in which they came, which all that is made at once waits for.
#pragma once

#include <array>
#include <exception>
#include <memory>
#include <vector>

#include "backend/communicator.h"
#include "dist/flight_recorder.h"

namespace ostria {

class InOrder : public Communicator {
 public:
  InOrder(std::unique_ptr<Communicator> inner, std::shared_ptr<void> companion);
  InOrder(const InOrder&) = delete;
  InOrder& operator=(const InOrder&) = delete;

  int rank() const final { return inner_->rank(); }
  int size() const final { return inner_->size(); }
  std::string_view transport() const final { return inner_->transport(); }
  void AllReduce(std::string_view what, void* data, int64_t count, DType dtype, ReduceOp op,
                 ReduceOrder order) final;
  void ReduceScatter(std::string_view what, const void* blocks, void* out, int64_t count,
                     DType dtype, ReduceOp op, ReduceOrder order) final;
  void AllGather(std::string_view what, void* data, int64_t bytes) final;
  void Broadcast(std::string_view what, void* data, int64_t bytes, int root) final;
  void Barrier(std::string_view what) final;
  void Abort(const std::string& why) final { inner_->Abort(why); }
  void set_timeout(std::chrono::milliseconds timeout) final { inner_->set_timeout(timeout); }

 protected:
  static constexpr int64_t kCapacity = 256;

  struct Request {
    std::string_view what;
    void* data = nullptr;
    int64_t count = 0;
    DType dtype = DType::kFloat32;
    ReduceOp op = ReduceOp::kSum;
    ReduceOrder order = ReduceOrder::kAny;
  };

  // Counts the time of its life for the replica, which cannot go on.
  class Blocked {
   public:
    explicit Blocked(const InOrder* of);
    ~Blocked();
    Blocked(const Blocked&) = delete;
    Blocked& operator=(const Blocked&) = delete;

   private:
    FlightRecorder* const recorder_;  // nullptr: nobody asks
    int64_t begin_ = 0;
  };

  /// Returns when all that was started is done; throws what failed.
  virtual void Drain() = 0;

  void Enqueue(int slot, const Request& request);
  const Request& Next() const { return ring_[static_cast<size_t>(finished_ % kCapacity)]; }
  bool is_busy() const { return finished_ < started_; }
  /// `started_` when the last one of `slot` had been.
  int64_t LastOf(int slot) const;
  void ThrowIfFailed() const {
    if (error_ != nullptr) std::rethrow_exception(error_);
  }

  const std::unique_ptr<Communicator> inner_;
  int64_t started_ = 0, finished_ = 0;
  std::exception_ptr error_;  // after which no call is made

 private:
  const std::shared_ptr<void> companion_;  // goes first
  RecordedCommunicator* const recorded_;   // `inner_`, where it records: it is told what will come
  std::array<Request, kCapacity> ring_;
  std::vector<int64_t> last_;  // by slot
};

}  // namespace ostria
