// SPDX-License-Identifier: Apache-2.0
// Loops on all threads of this process's share. OpenMP is the one thread runtime: oneDNN brings it,
// and the waiting threads of two runtimes take the cores from each other. parallel.cpp is the only
// file that names it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

namespace ostria {

/// Refers to a callable without owning or allocating; valid while the callable lives.
template <class Signature>
class FunctionRef;
template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>)
      FunctionRef(F&& f)  // NOLINT: implicit by design
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(f)))),
        call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(std::forward<Args>(args)...);
        }) {}
  R operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

/// Cores that the calling thread may run on: its affinity, and the cgroup's quota.
int NumCores();
/// Of the cgroup alone; a large number where it has no quota.
int QuotaOfCores();

/// Threads that a loop started on this thread may use: the cgroup's quota or OSTRIA_NUM_THREADS,
/// unless SetNumThreads gave this thread a share of its own.
int NumThreads();
/// Gives the calling thread a share of `n` threads (at least 1) for its later loops.
void SetNumThreads(int n);

/// Calls fn(begin, end) on disjoint ranges that cover [0, n). Ranges hold at least `grain` items,
/// so work below `grain` runs inline; nested calls run inline too. The split depends only on n,
/// grain and NumThreads(). `fn` must not throw. Raises Error in a child of fork() (use spawn).
void ParallelFor(int64_t n, int64_t grain, FunctionRef<void(int64_t begin, int64_t end)> fn);

/// Nanoseconds of an empty loop on all threads, mean of `repeats`: what a barrier costs here. Cores
/// that share no cache take several times as long as neighbours, and so do loops that exchange
/// data.
double ForkJoinNanoseconds(int repeats);

/// Measures a loop that a library runs on the same threads, so that a busy neighbour is noticed
/// there too. Raises Error in a child of fork(), where the loop would hang. `shortest`: of its runs
/// so far, in nanoseconds; kept by the caller, 0 at first.
class LoopTimer {
 public:
  LoopTimer(int threads, std::atomic<int64_t>* shortest);
  ~LoopTimer();
  LoopTimer(const LoopTimer&) = delete;
  LoopTimer& operator=(const LoopTimer&) = delete;

 private:
  std::atomic<int64_t>* shortest_;  // null: one thread waits for nobody
  int64_t begin_ = 0;
};

/// Whether other programs were found to keep the cores busy. Then, for some seconds, threads that
/// wait sleep at once instead of spinning, and loops of ours on two threads use one; results are
/// the same.
bool CoresAreBusy();

}  // namespace ostria
