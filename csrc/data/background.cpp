// SPDX-License-Identifier: Apache-2.0
#include "data/background.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "data/dataset.h"

namespace ostria::data {
namespace {

// Never destroyed: a thread that was let go may still come here while the process ends.
struct Registry {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::weak_ptr<Stoppable>> states;
  int running = 0;
  bool closed = false;
};

Registry& TheRegistry() {
  static auto* registry = new Registry;
  return *registry;
}

std::atomic<void (*)()> wait_hook{nullptr};

}  // namespace

BackgroundThread::~BackgroundThread() {
  if (thread_.joinable()) thread_.detach();
}

void BackgroundThread::Start(const std::shared_ptr<Stoppable>& state, std::function<void()> body) {
  Registry& registry = TheRegistry();
  {
    std::lock_guard lock(registry.mutex);
    if (registry.closed) {
      Fail(ErrorCode::kInvalidArgument,
           "the input pipeline cannot start a thread: the interpreter is shutting down");
    }
    std::erase_if(registry.states, [](const auto& s) { return s.expired(); });
    registry.states.push_back(state);
    ++registry.running;
  }
  finish_ = std::make_shared<Finish>();
  const auto leave = [] {
    Registry& r = TheRegistry();
    std::lock_guard lock(r.mutex);
    --r.running;
    r.changed.notify_all();
  };
  try {
    thread_ = std::thread([leave, body = std::move(body), finish = finish_]() mutable {
      SetNumThreads(1);
      body();
      body = nullptr;  // what it kept alive goes before anybody is told
      leave();
      std::lock_guard lock(finish->mutex);
      finish->done = true;
      finish->changed.notify_all();
    });
  } catch (const std::exception& e) {
    leave();
    Fail(ErrorCode::kOutOfMemory, "the input pipeline could not start a thread: ", e.what());
  }
}

bool BackgroundThread::Join(int64_t patience_ms) {
  if (!thread_.joinable()) return true;
  {
    std::unique_lock lock(finish_->mutex);
    if (!finish_->changed.wait_for(lock, std::chrono::milliseconds(patience_ms),
                                   [this] { return finish_->done; })) {
      return false;
    }
  }
  thread_.join();
  return true;
}

void StopInputThreads(int64_t patience_ms) {
  Registry& registry = TheRegistry();
  std::vector<std::shared_ptr<Stoppable>> states;
  {
    std::lock_guard lock(registry.mutex);
    registry.closed = true;
    for (const auto& weak : registry.states) {
      if (auto state = weak.lock()) states.push_back(std::move(state));
    }
  }
  for (const auto& state : states) state->Stop();
  std::unique_lock lock(registry.mutex);
  registry.changed.wait_for(lock, std::chrono::milliseconds(patience_ms),
                            [&] { return registry.running == 0; });
}

void SetWaitHook(void (*hook)()) { wait_hook = hook; }

void WaitFor(std::condition_variable& changed, std::unique_lock<std::mutex>& lock,
             const std::function<bool()>& ready) {
  while (!changed.wait_for(lock, std::chrono::milliseconds(200), ready)) {
    if (void (*hook)() = wait_hook.load()) {
      lock.unlock();
      hook();
      lock.lock();
    }
  }
}

void CheckNotForked(int pid) {
  if (getpid() == pid) return;
  Fail(ErrorCode::kInvalidArgument,
       "this process is a fork of the one that made the iterator, and its input threads did not "
       "come "
       "along; make the iterator in this process, or start processes with 'spawn'");
}

}  // namespace ostria::data
