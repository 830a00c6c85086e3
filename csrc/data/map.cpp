// SPDX-License-Identifier: Apache-2.0
// map: a function of each element, in order, on the calling thread or on several of its own.
// Invariant: results leave in the order of the input; the position is that of the results handed
// out.
#include <cxxabi.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <exception>

#include "data/background.h"
#include "data/position_log.h"

namespace ostria::data {
namespace {

class SerialMapStage final : public Stage {
 public:
  SerialMapStage(std::unique_ptr<Stage> input, std::shared_ptr<MapFunction> fn)
      : input_(std::move(input)), fn_(std::move(fn)) {}
  bool Next(Element* out) override {
    Element in;
    if (!input_->Next(&in)) return false;
    fn_->Call(in, out);
    check_.CheckResult("map", in, *out, index_++);
    return true;
  }
  int64_t Skip(int64_t n) override {
    const int64_t done = input_->Skip(n);
    index_ += done;
    return done;
  }
  void Restart() override {
    index_ = 0;
    input_->Restart();
  }
  void Save(StateWriter& out) const override {
    out.Name("map");
    out.Int(index_);
    input_->Save(out);
  }
  void Restore(StateReader& in) override {
    in.Name("map");
    index_ = in.Int(0);
    input_->Restore(in);
  }

 private:
  std::unique_ptr<Stage> input_;
  std::shared_ptr<MapFunction> fn_;
  ElementCheck check_;
  int64_t index_ = 0;
};

struct MapTask {
  Element in, out;
  std::exception_ptr error;
  bool done = false;
};

struct MapState final : Stoppable {
  void Stop() override {
    std::lock_guard lock(mutex);
    stop = true;
    work.notify_all();
    finished.notify_all();
  }
  std::shared_ptr<MapFunction> fn;
  std::mutex mutex;
  std::condition_variable work, finished;
  std::deque<std::shared_ptr<MapTask>> todo;
  bool stop = false;
};

void Work(MapState& s) {
  for (;;) {
    std::shared_ptr<MapTask> task;
    {
      std::unique_lock lock(s.mutex);
      s.work.wait(lock, [&] { return s.stop || !s.todo.empty(); });
      if (s.stop) return;
      task = std::move(s.todo.front());
      s.todo.pop_front();
    }
    Element out;
    std::exception_ptr error;
    try {
      s.fn->Call(task->in, &out);
    } catch (const abi::__forced_unwind&) {
      throw;
    } catch (...) {
      error = std::current_exception();
    }
    std::lock_guard lock(s.mutex);
    task->out = std::move(out);
    task->error = std::move(error);
    task->done = true;
    s.finished.notify_all();
  }
}

class ParallelMapStage final : public Stage {
 public:
  ParallelMapStage(std::unique_ptr<Stage> input, std::shared_ptr<MapFunction> fn, int64_t threads)
      : input_(std::move(input)),
        state_(std::make_shared<MapState>()),
        threads_(static_cast<size_t>(threads)),
        pid_(getpid()) {
    state_->fn = std::move(fn);
    log_.Start(0, *input_);
  }
  ~ParallelMapStage() override {
    if (threads_running_.empty()) return;
    if (getpid() != pid_) {
      new std::shared_ptr<MapState>(state_);
      return;
    }
    state_->Stop();
    for (auto& thread : threads_running_) thread.Join(kPatienceMs);
  }

  bool Next(Element* out) override {
    if (ended_) return false;
    CheckNotForked(pid_);
    if (!failure_.empty()) {
      Fail(ErrorCode::kInvalidArgument, "map: the input failed before (", failure_,
           "); restore a position, or make a new iterator");
    }
    StartThreads();
    TopUp();
    if (in_flight_.empty()) {
      if (input_error_) Rethrow(std::exchange(input_error_, nullptr));
      ended_ = true;
      return false;
    }
    const std::shared_ptr<MapTask> task = in_flight_.front();
    {
      std::unique_lock lock(state_->mutex);
      WaitFor(state_->finished, lock, [&] { return task->done || state_->stop; });
      if (!task->done) {
        Fail(ErrorCode::kInvalidArgument, "map: the input threads of this process were stopped");
      }
    }
    if (task->error) Rethrow(std::exchange(task->error, nullptr));
    try {
      check_.CheckResult("map", task->in, task->out, consumed_);
    } catch (const Error& e) {
      failure_ = e.what();
      throw;
    }
    in_flight_.pop_front();
    *out = std::move(task->out);
    log_.Consumed(++consumed_);
    return true;
  }
  int64_t Skip(int64_t n) override {
    if (!in_flight_.empty() || input_ended_ || input_error_ || !failure_.empty())
      return Stage::Skip(n);
    if (ended_) return 0;
    const int64_t done = log_.Skip(*input_, consumed_, n);
    consumed_ += done;
    produced_ = consumed_;
    ended_ = done < n;
    return done;
  }
  void Restart() override {
    Drop();
    input_->Restart();
    log_.Start(0, *input_);
    consumed_ = produced_ = 0;
    ended_ = false;
  }
  void Save(StateWriter& out) const override {
    out.Name("parallel_map");
    out.Int(ended_);
    log_.Save(out, consumed_);
  }
  void Restore(StateReader& in) override {
    in.Name("parallel_map");
    Drop();
    ended_ = in.Int(0, 1) != 0;
    consumed_ = log_.Restore(in, *input_, ended_);
    produced_ = consumed_;
  }
  bool exact_after_error() const override { return true; }

 private:
  void StartThreads() {
    while (threads_running_.size() < threads_) {
      BackgroundThread thread;
      thread.Start(state_, [s = state_] { Work(*s); });
      threads_running_.push_back(std::move(thread));
    }
  }
  /// Reads the input until twice as many elements as threads are under way.
  void TopUp() {
    while (in_flight_.size() < 2 * threads_ && !input_ended_ && !input_error_) {
      auto task = std::make_shared<MapTask>();
      try {
        input_ended_ = !input_->Next(&task->in);
        if (!input_ended_ && PositionLog::Due(produced_ + 1)) {
          log_.Note(produced_ + 1, PositionLog::StateOf(*input_));
        }
      } catch (const abi::__forced_unwind&) {
        throw;
      } catch (...) {
        input_error_ = std::current_exception();  // comes after the elements before it
      }
      if (input_ended_ || input_error_) return;
      ++produced_;
      in_flight_.push_back(task);
      std::lock_guard lock(state_->mutex);
      state_->todo.push_back(std::move(task));
      state_->work.notify_one();
    }
  }
  void Drop() {
    {
      std::lock_guard lock(state_->mutex);
      state_->todo.clear();
    }
    in_flight_.clear();
    input_ended_ = false;
    input_error_ = nullptr;
    failure_.clear();
  }
  [[noreturn]] void Rethrow(std::exception_ptr error) {
    failure_ = "no message";
    try {
      std::rethrow_exception(std::move(error));
    } catch (const std::exception& e) {
      failure_ = e.what();
      throw;
    }
  }

  std::unique_ptr<Stage> input_;
  std::shared_ptr<MapState> state_;
  size_t threads_;
  int pid_;
  std::vector<BackgroundThread> threads_running_;
  std::deque<std::shared_ptr<MapTask>> in_flight_;  // in order
  PositionLog log_;
  ElementCheck check_;
  int64_t produced_ = 0, consumed_ = 0;
  bool input_ended_ = false, ended_ = false;
  std::exception_ptr input_error_;
  std::string failure_;
};

class MapDataset final : public Dataset {
 public:
  MapDataset(DatasetPtr input, std::shared_ptr<MapFunction> fn, int64_t threads)
      : Dataset({std::move(input)}), fn_(std::move(fn)), threads_(threads) {}
  std::unique_ptr<Stage> MakeStage() const override {
    std::unique_ptr<Stage> input = inputs()[0]->MakeStage();
    if (threads_ > 1) return std::make_unique<ParallelMapStage>(std::move(input), fn_, threads_);
    return std::make_unique<SerialMapStage>(std::move(input), fn_);
  }
  int64_t Cardinality() const override { return inputs()[0]->Cardinality(); }
  std::string Describe() const override { return threads_ > 1 ? "map(parallel)" : "map"; }

 private:
  std::shared_ptr<MapFunction> fn_;
  int64_t threads_;
};

}  // namespace

DatasetPtr Map(DatasetPtr input, std::shared_ptr<MapFunction> fn, int64_t threads) {
  if (threads < 1) {
    Fail(ErrorCode::kInvalidArgument, "map: num_parallel_calls is ", threads,
         "; it must be at least 1");
  }
  return std::make_shared<MapDataset>(std::move(input), std::move(fn), threads);
}

}  // namespace ostria::data
