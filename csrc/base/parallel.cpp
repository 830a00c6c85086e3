// SPDX-License-Identifier: Apache-2.0
#include "base/parallel.h"

#include <omp.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "base/error.h"

namespace ostria {
namespace {

std::atomic<bool> used{false};    // a parallel region ran in this process
std::atomic<bool> forked{false};  // this process is a child of one where that was so
thread_local int share = 0;       // 0: the process's default

int QuotaThreads() {
  cpu_set_t set;
  int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : omp_get_num_procs();
  if (FILE* f = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
    double quota = 0, period = 0;
    if (std::fscanf(f, "%lf %lf", &quota, &period) == 2 && quota > 0 && period > 0) {
      n = std::min(n, std::max(1, static_cast<int>(std::ceil(quota / period))));
    }
    std::fclose(f);
  }
  return std::max(1, n);
}

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
    return QuotaThreads();
  }();
  return n;
}

}  // namespace

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
  const int threads = pieces <= 1 || omp_in_parallel()
                          ? 1
                          : static_cast<int>(std::min<int64_t>(NumThreads(), pieces));
  if (threads == 1) {
    fn(0, n);
    return;
  }
  if (forked.load(std::memory_order_relaxed)) {
    Fail(ErrorCode::kNotImplemented,
         "ostria was used before this process was forked, and its threads do not survive a fork; "
         "start workers with the 'spawn' method");
  }
  used.store(true, std::memory_order_relaxed);
#pragma omp parallel num_threads(threads)
  {
    const int64_t count = omp_get_num_threads(), t = omp_get_thread_num();
    const int64_t begin = n * t / count, end = n * (t + 1) / count;
    if (begin < end) fn(begin, end);
  }
}

}  // namespace ostria
