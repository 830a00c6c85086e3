// SPDX-License-Identifier: Apache-2.0
// Waiting for a word in shared memory: first awake, as long as that pays, then asleep in the
// kernel.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace ostria {

/// Sleeps while `word` is `seen`, at most for `timeout`; may return early.
void FutexWait(const std::atomic<uint32_t>& word, uint32_t seen, std::chrono::nanoseconds timeout);
/// Wakes all that sleep on `word`, in any process.
void FutexWake(const std::atomic<uint32_t>& word);

/// How long to wait awake. Longer where waits end in that time, shorter where they do not, and not
/// at all for a while where another thread took the core meanwhile: it needs it. (That a host took
/// it from a virtual machine is not told from here, and sleeping would not help.)
class SpinBudget {
 public:
  /// `crowded`: there are fewer cores than threads that wait for one another.
  explicit SpinBudget(bool crowded) : crowded_(crowded) {}

  /// Whether `done` became true in the time allowed.
  template <class Done>
  bool Spin(Done&& done) {
    if (!Allowed()) return false;
    if (Look(done)) return true;
    const int64_t lost = LostCores();
    const auto begin = Clock::now();
    auto last = begin;
    for (;;) {
      if (Look(done)) return true;
      const auto now = Clock::now();
      if (now - last > kLostCore && LostCores() != lost) {
        banned_ = kBan;
        return false;
      }
      if (now - begin > budget_) return false;
      last = now;
    }
  }
  /// A wait is over that took `waited` in all; `slept`: Spin was not enough.
  void Note(bool slept, std::chrono::nanoseconds waited);

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::microseconds kLeast{2}, kMost{500}, kLostCore{200};
  static constexpr int kBan = 64;  // waits

  bool Allowed();
  /// How often another thread took this one's core.
  static int64_t LostCores();
  template <class Done>
  static bool Look(Done& done) {
    for (int i = 0; i < 32; ++i) {
      if (done()) return true;
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
    return false;
  }

  std::chrono::nanoseconds budget_ = kMost;
  int banned_ = 0;  // so many waits to come
  bool crowded_;
};

}  // namespace ostria
