// SPDX-License-Identifier: Apache-2.0
#include "base/parallel.h"

#include <omp.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <string_view>
#include <thread>

#include "base/error.h"
#include "base/wait_watch.h"

namespace ostria {
namespace {

std::atomic<bool> used{false};    // a parallel region ran in this process
std::atomic<bool> forked{false};  // this process is a child of one where that was so
thread_local int share = 0;       // 0: the process's default

int DefaultThreads() {
  static const int n = [] {
    pthread_atfork(nullptr, nullptr, [] { forked = used.load(); });
    if (const char* text = std::getenv("OSTRIA_NUM_THREADS")) {
      const int asked = std::atoi(text);
      if (asked < 1) {
        Fail(ErrorCode::kInvalidArgument, "OSTRIA_NUM_THREADS: '", text,
             "' is not a number of threads; give an integer of at least 1");
      }
      return asked;
    }
    return NumCores();
  }();
  return n;
}

// A team of threads does not survive fork(): a child would wait for it for ever.
void BeginRegion() {
  if (forked.load(std::memory_order_relaxed)) {
    Fail(ErrorCode::kNotImplemented,
         "ostria was used before this process was forked, and its threads do not survive a fork; "
         "start workers with the 'spawn' method");
  }
  used.store(true, std::memory_order_relaxed);
}

int64_t Now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Makes waiting threads sleep. GNU OpenMP spins for a few milliseconds before it sleeps, but only
// for a moment when it has more threads than cores (GOMP_SPINCOUNT in its manual). So a team of
// threads that do nothing turns spinning off, and their end turns it on again.
class Crowd {
 public:
  void Set(bool on) {
    std::lock_guard lock(mutex_);
    if (on == on_) return;
    on_ = on;
    if (on) {
      std::thread([this] { Stand(); }).detach();
    } else {
      changed_.notify_all();
    }
  }

 private:
  void Stand() {
#pragma omp parallel num_threads(omp_get_num_procs() + 1)
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return !on_; });
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool on_ = false;
};

class Neighbours {
 public:
  static Neighbours& Get() {
    static auto* neighbours = new Neighbours;  // its threads may outlive static objects
    return *neighbours;
  }

  /// Cheap while nothing is amiss; called before every loop on several threads.
  bool Busy(int64_t now) {
    if (!busy_.load(std::memory_order_relaxed)) return false;
    std::lock_guard lock(mutex_);
    if (!watch_.Sleeping(now)) Set(false);
    return busy_.load(std::memory_order_relaxed);
  }

  void Note(int64_t now, int64_t took, int64_t work) {
    if (took < kWorthALook || !watching_) return;
    std::lock_guard lock(mutex_);
    if (watch_.Note(now, took, work)) Set(true);
  }

 private:
  static constexpr int64_t kWorthALook = 1'000'000;

  // Threads that never spin need no watch.
  static bool ThreadsSpin() {
    const char* policy = std::getenv("OMP_WAIT_POLICY");
    const std::string_view text = policy == nullptr ? "" : policy;
    return text != "passive" && text != "PASSIVE";
  }

  void Set(bool busy) {
    if (busy == busy_.load()) return;
    crowd_.Set(busy);
    busy_ = busy;
    if (busy && !told_) {
      told_ = true;
      std::fputs(
          "ostria: other programs keep the cores busy; waiting threads sleep instead of spinning, "
          "so steps are slower and results the same. OSTRIA_NUM_THREADS sets fewer threads.\n",
          stderr);
    }
  }

  const bool watching_ = ThreadsSpin();
  std::mutex mutex_;
  WaitWatch watch_;
  Crowd crowd_;
  std::atomic<bool> busy_{false};
  bool told_ = false;
};

}  // namespace

bool CoresAreBusy() { return Neighbours::Get().Busy(Now()); }

LoopTimer::LoopTimer(int threads, std::atomic<int64_t>* shortest)
    : shortest_(threads > 1 ? shortest : nullptr) {
  if (shortest_ == nullptr) return;
  BeginRegion();
  begin_ = Now();
  Neighbours::Get().Busy(begin_);
}

LoopTimer::~LoopTimer() {
  if (shortest_ == nullptr) return;
  const int64_t now = Now(), took = now - begin_;
  const int64_t shortest = shortest_->load(std::memory_order_relaxed);
  if (shortest == 0 || took < shortest) shortest_->store(took, std::memory_order_relaxed);
  if (shortest != 0) Neighbours::Get().Note(now, took, shortest);
}

int NumCores() {
  cpu_set_t set;
  const int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : omp_get_num_procs();
  return std::max(1, std::min(n, QuotaOfCores()));
}

int QuotaOfCores() {
  int n = std::numeric_limits<int>::max();
  if (FILE* f = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
    double quota = 0, period = 0;
    if (std::fscanf(f, "%lf %lf", &quota, &period) == 2 && quota > 0 && period > 0) {
      n = std::max(1, static_cast<int>(std::ceil(quota / period)));
    }
    std::fclose(f);
  }
  return n;
}

int NumThreads() {
  if (share == 0) SetNumThreads(DefaultThreads());
  return share;
}

void SetNumThreads(int n) {
  share = std::max(1, n);
  omp_set_num_threads(share);  // oneDNN's loops started from this thread follow
}

void ParallelFor(int64_t n, int64_t grain, FunctionRef<void(int64_t, int64_t)> fn) {
  if (n <= 0) return;
  const int64_t pieces = n / std::max<int64_t>(1, grain);
  int threads = pieces <= 1 || omp_in_parallel()
                    ? 1
                    : static_cast<int>(std::min<int64_t>(NumThreads(), pieces));
  int64_t start = 0;
  if (threads > 1) {
    start = Now();
    // Larger teams keep their size: OpenMP would end and make threads at every change of it.
    if (Neighbours::Get().Busy(start) && threads == 2) threads = 1;
  }
  if (threads == 1) {
    fn(0, n);
    return;
  }
  BeginRegion();
  int64_t done = start;
#pragma omp parallel num_threads(threads)
  {
    const int64_t count = omp_get_num_threads(), t = omp_get_thread_num();
    const int64_t begin = n * t / count, end = n * (t + 1) / count;
    if (begin < end) fn(begin, end);
    if (t == 0) done = Now();
  }
  // Shares are equal: what this thread waits beyond its own work, the others did not run.
  const int64_t now = Now();
  Neighbours::Get().Note(now, now - start, done - start);
}

double ForkJoinNanoseconds(int repeats) {
  const int64_t begin = Now();
  for (int i = 0; i < repeats; ++i) ParallelFor(NumThreads(), 1, [](int64_t, int64_t) {});
  return static_cast<double>(Now() - begin) / std::max(1, repeats);
}

}  // namespace ostria
