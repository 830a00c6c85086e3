// SPDX-License-Identifier: Apache-2.0
// prefetch: a thread of its own runs the input ahead into a bounded queue.
// Invariant: the position is that of the elements taken out of the queue; what waits in it is
// produced again after a restore. The input belongs to the thread while it runs, and to the stage
// else.
#include <cxxabi.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <exception>

#include "data/background.h"
#include "data/position_log.h"

namespace ostria::data {
namespace {

struct PrefetchState final : Stoppable {
  void Stop() override {
    std::lock_guard lock(mutex);
    stop = true;
    room.notify_all();
    filled.notify_all();
  }

  DatasetPtr dataset;  // the input points into it
  std::unique_ptr<Stage> input;
  size_t capacity = 1;

  std::mutex mutex;
  std::condition_variable room, filled;
  std::deque<Element> queue;
  PositionLog log;
  int64_t produced = 0;
  std::atomic<int64_t> busy_ns{0};
  bool stop = false;
  bool ended = false;        // no more after the queue
  std::exception_ptr error;  // comes after the queue
};

void Produce(PrefetchState& s) {
  for (;;) {
    {
      std::unique_lock lock(s.mutex);
      s.room.wait(lock, [&] { return s.stop || s.queue.size() < s.capacity; });
      if (s.stop) return;
    }
    Element element;
    std::string noted;
    std::exception_ptr error;
    bool more = false;
    const auto start = std::chrono::steady_clock::now();
    try {
      more = s.input->Next(&element);
      if (more && PositionLog::Due(s.produced + 1)) noted = PositionLog::StateOf(*s.input);
    } catch (const abi::__forced_unwind&) {
      throw;  // the interpreter ends this thread; swallowing that would end the process
    } catch (...) {
      error = std::current_exception();
    }
    s.busy_ns += std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count();
    std::lock_guard lock(s.mutex);
    if (error) {
      s.error = std::move(error);
    } else if (more) {
      ++s.produced;
      s.queue.push_back(std::move(element));
      if (!noted.empty()) s.log.Note(s.produced, std::move(noted));
    } else {
      s.ended = true;
    }
    s.filled.notify_all();
    if (s.error || s.ended) return;
  }
}

class PrefetchStage final : public Stage {
 public:
  PrefetchStage(DatasetPtr input, int64_t buffer_size)
      : state_(std::make_shared<PrefetchState>()), pid_(getpid()) {
    state_->input = input->MakeStage();
    state_->dataset = std::move(input);
    state_->capacity = static_cast<size_t>(buffer_size);
    state_->log.Start(0, *state_->input);
  }
  ~PrefetchStage() override {
    if (!thread_.started()) return;
    if (getpid() != pid_) {  // in a fork the thread and its locks are not ours to touch
      new std::shared_ptr<PrefetchState>(state_);
      return;
    }
    state_->Stop();
    thread_.Join(kPatienceMs);
  }

  bool Next(Element* out) override {
    if (ended_) return false;
    CheckNotForked(pid_);
    if (!failure_.empty()) {
      Fail(ErrorCode::kInvalidArgument, "prefetch: the input failed before (", failure_,
           "); restore a position, or make a new iterator");
    }
    if (!thread_.started()) thread_.Start(state_, [s = state_] { Produce(*s); });
    PrefetchState& s = *state_;
    std::unique_lock lock(s.mutex);
    WaitFor(s.filled, lock, [&] { return s.stop || !s.queue.empty() || s.ended || s.error; });
    if (!s.queue.empty()) {
      *out = std::move(s.queue.front());
      s.queue.pop_front();
      s.log.Consumed(++consumed_);
      s.room.notify_one();
      return true;
    }
    if (s.error) Rethrow(std::move(lock));
    if (s.ended) {
      ended_ = true;
      return false;
    }
    Fail(ErrorCode::kInvalidArgument, "prefetch: the input threads of this process were stopped");
  }
  int64_t Skip(int64_t n) override {
    if (thread_.started() || !failure_.empty()) return Stage::Skip(n);
    if (ended_) return 0;
    const int64_t done = state_->log.Skip(*state_->input, consumed_, n);
    consumed_ += done;
    state_->produced = consumed_;
    ended_ = done < n;
    return done;
  }
  void Restart() override {
    Halt();
    state_->input->Restart();
    state_->log.Start(0, *state_->input);
    consumed_ = state_->produced = 0;
    ended_ = false;
  }
  void Save(StateWriter& out) const override {
    out.Name("prefetch");
    out.Int(ended_);
    std::lock_guard lock(state_->mutex);
    state_->log.Save(out, consumed_);
  }
  void Restore(StateReader& in) override {
    in.Name("prefetch");
    Halt();
    ended_ = in.Int(0, 1) != 0;
    consumed_ = state_->log.Restore(in, *state_->input, ended_);
    state_->produced = consumed_;
  }
  bool exact_after_error() const override { return true; }
  int64_t ahead_nanoseconds() const override { return state_->busy_ns; }

 private:
  /// Takes the input back from the thread.
  void Halt() {
    if (thread_.started()) {
      CheckNotForked(pid_);
      state_->Stop();
      if (!thread_.Join(kPatienceMs)) {
        Fail(ErrorCode::kInvalidArgument, "prefetch: a function of the input has not returned for ",
             kPatienceMs / 1000, " s, so the input cannot be started again; make a new iterator");
      }
    }
    state_->queue.clear();
    state_->stop = state_->ended = false;
    state_->error = nullptr;
    failure_.clear();
  }
  [[noreturn]] void Rethrow(std::unique_lock<std::mutex> lock) {
    // Thrown once: an interpreter's exception cannot be raised twice. Later calls quote it.
    std::exception_ptr error = std::exchange(state_->error, nullptr);
    state_->ended = true;
    lock.unlock();
    failure_ = "no message";
    try {
      std::rethrow_exception(error);
    } catch (const std::exception& e) {
      failure_ = e.what();
      throw;
    }
  }

  std::shared_ptr<PrefetchState> state_;
  BackgroundThread thread_;
  int pid_;
  int64_t consumed_ = 0;
  bool ended_ = false;
  std::string failure_;
};

class PrefetchDataset final : public Dataset {
 public:
  PrefetchDataset(DatasetPtr input, int64_t buffer_size)
      : Dataset({std::move(input)}), buffer_size_(buffer_size) {}
  std::unique_ptr<Stage> MakeStage() const override {
    return std::make_unique<PrefetchStage>(inputs()[0], buffer_size_);
  }
  int64_t Cardinality() const override { return inputs()[0]->Cardinality(); }
  // Without its size: how far ahead a thread runs changes nothing that a consumer sees.
  std::string Describe() const override { return "prefetch"; }

 private:
  int64_t buffer_size_;
};

}  // namespace

DatasetPtr Prefetch(DatasetPtr input, int64_t buffer_size) {
  if (buffer_size < 1) {
    Fail(ErrorCode::kInvalidArgument, "prefetch: buffer_size is ", buffer_size,
         "; it must be at least 1");
  }
  return std::make_shared<PrefetchDataset>(std::move(input), buffer_size);
}

}  // namespace ostria::data
