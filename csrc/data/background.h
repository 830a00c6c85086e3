// SPDX-License-Identifier: Apache-2.0
// Threads of the input pipeline: started late, stopped promptly, never able to hang their owner for
// good. Invariant: a thread's body touches only what its own shared state keeps alive, so it may
// outlive its owner when a user's function does not return.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

namespace ostria::data {

/// Milliseconds that an owner waits for a user's function before it lets the thread go.
inline constexpr int64_t kPatienceMs = 5000;

/// What threads share with their owner.
class Stoppable {
 public:
  virtual ~Stoppable() = default;
  /// Makes the bodies return soon. Any thread, any number of times.
  virtual void Stop() = 0;
};

class BackgroundThread {
 public:
  BackgroundThread() = default;
  BackgroundThread(BackgroundThread&&) = default;
  BackgroundThread& operator=(BackgroundThread&&) = delete;
  ~BackgroundThread();

  /// Runs `body`, which must not throw, with a share of one thread for its loops. `state` is
  /// stopped when the process's input threads are. Throws once StopInputThreads was called.
  void Start(const std::shared_ptr<Stoppable>& state, std::function<void()> body);
  bool started() const { return thread_.joinable(); }
  /// True when the body has returned (the thread can be started again); false after `patience_ms`.
  bool Join(int64_t patience_ms);

 private:
  struct Finish {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
  };
  std::shared_ptr<Finish> finish_;
  std::thread thread_;
};

/// Called about five times a second by a thread that waits for an element; may throw to end the
/// wait (an interpreter looks for Ctrl-C here). Null for none.
void SetWaitHook(void (*hook)());
/// Waits on `changed` until `ready()`, running the hook now and then; `lock` is open while it runs.
void WaitFor(std::condition_variable& changed, std::unique_lock<std::mutex>& lock,
             const std::function<bool()>& ready);
/// Throws when this process is a fork of the one that `pid` names: threads did not come along.
void CheckNotForked(int pid);

}  // namespace ostria::data
