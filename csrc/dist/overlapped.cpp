// SPDX-License-Identifier: Apache-2.0
#include "dist/overlapped.h"

#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "dist/in_order.h"

namespace ostria {
namespace {

class Overlapped final : public InOrder {
 public:
  Overlapped(std::unique_ptr<Communicator> inner, std::shared_ptr<void> companion)
      : InOrder(std::move(inner), std::move(companion)) {}
  ~Overlapped() override {
    bool is_busy = false;
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
      is_busy = finished_ < started_;
    }
    if (is_busy) inner_->Abort("the replica ended");
    work_.notify_one();
    if (thread_.joinable()) thread_.join();
  }

  void Start(int slot, std::string_view what, void* data, int64_t count, DType dtype, ReduceOp op,
             ReduceOrder order) override {
    {
      std::unique_lock lock(mutex_);
      if (!thread_.joinable()) thread_ = std::thread([this] { Serve(); });
      done_.wait(lock, [&] { return started_ - finished_ < kCapacity; });
      ThrowIfFailed();
      Enqueue(slot, {what, data, count, dtype, op, order});
    }
    work_.notify_one();
  }

  void Wait(int slot) override {
    std::unique_lock lock(mutex_);
    const int64_t last = LastOf(slot);
    const Blocked blocked(finished_ < last ? this : nullptr);
    done_.wait(lock, [&] { return finished_ >= last; });
    ThrowIfFailed();
  }

  void Settle() override {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return finished_ == started_; });
  }

 private:
  void Drain() override {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return finished_ == started_; });
    ThrowIfFailed();
  }

  // What follows a call that failed is not made: the group is of no use.
  void Serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
      work_.wait(lock, [&] { return stop_ || finished_ < started_; });
      if (finished_ == started_) return;
      if (error_ == nullptr) {
        const Request r = Next();
        lock.unlock();
        std::exception_ptr error;
        try {
          inner_->AllReduce(r.what, r.data, r.count, r.dtype, r.op, r.order);
        } catch (...) {
          error = std::current_exception();
        }
        lock.lock();
        error_ = error;
      }
      ++finished_;
      done_.notify_all();
    }
  }

  std::mutex mutex_;  // guards what follows, and the queue
  std::condition_variable work_, done_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<Communicator> MakeOverlapped(std::unique_ptr<Communicator> inner,
                                             std::shared_ptr<void> companion) {
  return std::make_unique<Overlapped>(std::move(inner), std::move(companion));
}

}  // namespace ostria
