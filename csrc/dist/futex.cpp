// SPDX-License-Identifier: Apache-2.0
#include "dist/futex.h"

#include <linux/futex.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <ctime>

namespace ostria {

void FutexWait(const std::atomic<uint32_t>& word, uint32_t seen, std::chrono::nanoseconds timeout) {
  const int64_t ns = std::max<int64_t>(timeout.count(), 1);
  const timespec time{ns / 1'000'000'000, ns % 1'000'000'000};
  // Not FUTEX_PRIVATE_FLAG: the word may be another process's too.
  syscall(SYS_futex, &word, FUTEX_WAIT, seen, &time, nullptr, 0);
}
void FutexWake(const std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

bool SpinBudget::Allowed() {
  if (crowded_) return false;
  if (banned_ > 0) --banned_;
  return banned_ == 0;
}

int64_t SpinBudget::LostCores() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nivcsw;
}

void SpinBudget::Note(bool slept, std::chrono::nanoseconds waited) {
  if (!slept || waited < kMost) {
    budget_ = std::min<std::chrono::nanoseconds>(budget_ * 2, kMost);
  } else {
    budget_ = std::max<std::chrono::nanoseconds>(budget_ / 2, kLeast);
  }
}

}  // namespace ostria
