// SPDX-License-Identifier: Apache-2.0
#include "dist/overlapped.h"

#include <array>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "dist/flight_recorder.h"

namespace ostria {
namespace {

using std::chrono::nanoseconds;
using Clock = std::chrono::steady_clock;

struct Request {
  std::string_view what;
  void* data = nullptr;
  int64_t count = 0;
  DType dtype = DType::kFloat32;
  ReduceOp op = ReduceOp::kSum;
  ReduceOrder order = ReduceOrder::kAny;
};

class Overlapped final : public Communicator {
 public:
  Overlapped(std::unique_ptr<Communicator> inner, std::shared_ptr<void> companion)
      : inner_(std::move(inner)),
        companion_(std::move(companion)),
        recorded_(dynamic_cast<RecordedCommunicator*>(inner_.get())) {}
  Overlapped(const Overlapped&) = delete;
  Overlapped& operator=(const Overlapped&) = delete;
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

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string_view transport() const override { return inner_->transport(); }

  void AllReduce(std::string_view what, void* data, int64_t count, DType dtype, ReduceOp op,
                 ReduceOrder order) override {
    const Blocked blocked(this);
    Drain();
    inner_->AllReduce(what, data, count, dtype, op, order);
  }
  void ReduceScatter(std::string_view what, void* data, int64_t count, DType dtype, ReduceOp op,
                     ReduceOrder order) override {
    const Blocked blocked(this);
    Drain();
    inner_->ReduceScatter(what, data, count, dtype, op, order);
  }
  void AllGather(std::string_view what, void* data, int64_t bytes) override {
    const Blocked blocked(this);
    Drain();
    inner_->AllGather(what, data, bytes);
  }
  void Broadcast(std::string_view what, void* data, int64_t bytes, int root) override {
    const Blocked blocked(this);
    Drain();
    inner_->Broadcast(what, data, bytes, root);
  }
  void Barrier(std::string_view what) override {
    const Blocked blocked(this);
    Drain();
    inner_->Barrier(what);
  }

  void Start(int slot, std::string_view what, void* data, int64_t count, DType dtype, ReduceOp op,
             ReduceOrder order) override {
    {
      std::unique_lock lock(mutex_);
      if (!thread_.joinable()) thread_ = std::thread([this] { Serve(); });
      done_.wait(lock, [&] { return started_ - finished_ < kCapacity; });
      ThrowIfFailed();
      if (recorded_ != nullptr) {
        recorded_->recorder().Schedule({"all_reduce", what, count, dtype, static_cast<int>(op)});
      }
      ring_[static_cast<size_t>(started_ % kCapacity)] = {what, data, count, dtype, op, order};
      ++started_;
      const auto at = static_cast<size_t>(slot);
      if (at >= last_.size()) last_.resize(at + 1);
      last_[at] = started_;
    }
    work_.notify_one();
  }

  void Wait(int slot) override {
    std::unique_lock lock(mutex_);
    const auto at = static_cast<size_t>(slot);
    const int64_t last = at < last_.size() ? last_[at] : 0;
    const Blocked blocked(finished_ < last ? this : nullptr);
    done_.wait(lock, [&] { return finished_ >= last; });
    ThrowIfFailed();
  }

  void Settle() override {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return finished_ == started_; });
  }

  void Abort(const std::string& why) override { inner_->Abort(why); }
  void set_timeout(std::chrono::milliseconds timeout) override { inner_->set_timeout(timeout); }

 private:
  static constexpr int64_t kCapacity = 256;

  // Counts the time of its life for the replica, which cannot go on.
  class Blocked {
   public:
    explicit Blocked(const Overlapped* of)
        : recorder_(of != nullptr && of->recorded_ != nullptr ? &of->recorded_->recorder()
                                                              : nullptr) {
      if (recorder_ != nullptr) begin_ = Clock::now();
    }
    ~Blocked() {
      if (recorder_ != nullptr) recorder_->AddBlocked((Clock::now() - begin_) / nanoseconds(1));
    }
    Blocked(const Blocked&) = delete;
    Blocked& operator=(const Blocked&) = delete;

   private:
    FlightRecorder* const recorder_;
    Clock::time_point begin_;
  };

  void Drain() {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return finished_ == started_; });
    ThrowIfFailed();
  }
  void ThrowIfFailed() const {
    if (error_ != nullptr) std::rethrow_exception(error_);
  }

  // What follows a call that failed is not made: the group is of no use.
  void Serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
      work_.wait(lock, [&] { return stop_ || finished_ < started_; });
      if (finished_ == started_) return;
      if (error_ == nullptr) {
        const Request r = ring_[static_cast<size_t>(finished_ % kCapacity)];
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

  const std::unique_ptr<Communicator> inner_;
  const std::shared_ptr<void> companion_;  // goes first
  RecordedCommunicator* const recorded_;   // `inner_`, where it records: it is told what will come
  std::mutex mutex_;                       // guards what follows
  std::condition_variable work_, done_;
  std::array<Request, kCapacity> ring_;
  int64_t started_ = 0, finished_ = 0;
  std::vector<int64_t> last_;  // by slot: `started_` when its last one had been
  std::exception_ptr error_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<Communicator> MakeOverlapped(std::unique_ptr<Communicator> inner,
                                             std::shared_ptr<void> companion) {
  return std::make_unique<Overlapped>(std::move(inner), std::move(companion));
}

}  // namespace ostria
