// SPDX-License-Identifier: Apache-2.0
// Stacks to switch between, within one thread of the host. A switch saves what the calling
// convention asks for and makes no system call; the sanitizers are told.
#pragma once

#include <cstddef>

namespace ostria::kernels::host {

class Fiber;

/// The stack that fibers are entered from.
class Scheduler {
 public:
  /// Returns when the fiber switches back.
  void SwitchTo(Fiber& fiber);

 private:
  friend class Fiber;
  void* at_ = nullptr;
  // As the address and the thread sanitizer know it.
  void* fake_stack_ = nullptr;
  const void* stack_ = nullptr;
  size_t stack_bytes_ = 0;
  void* tsan_ = nullptr;
};

class Fiber {
 public:
  /// `main` begins when the fiber is first entered, and never returns.
  explicit Fiber(void (*main)());
  /// What waits on its stack is forgotten, destructors and all.
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// From within: gives way to whoever entered it, returns when it is entered again.
  void SwitchTo(Scheduler& scheduler);

 private:
  friend class Scheduler;
  static void Begin();

  void* at_ = nullptr;
  void (*const main_)();
  std::byte* pages_ = nullptr;
  void* fake_stack_ = nullptr;
  void* tsan_ = nullptr;
};

}  // namespace ostria::kernels::host
