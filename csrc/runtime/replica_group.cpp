// SPDX-License-Identifier: Apache-2.0
#include "runtime/replica_group.h"

#include <unistd.h>

#include <algorithm>
#include <new>
#include <string>
#include <utility>

#include "backend/backend.h"
#include "base/check.h"
#include "runtime/eager.h"

namespace ostria {
namespace {

std::vector<DeviceId> Checked(std::vector<DeviceId> devices) {
  if (devices.empty()) {
    Fail(ErrorCode::kInvalidArgument, "replicas: no device is given; name at least one");
  }
  for (size_t i = 0; i < devices.size(); ++i) {
    if (devices[i].kind != devices[0].kind) {
      Fail(ErrorCode::kInvalidArgument, "replicas: devices are ", ToString(devices[0]), " and ",
           ToString(devices[i]),
           ", but all must be of one kind, for they share plans; give CPUs alone, such as 'cpu:0' "
           "and 'cpu:1', or GPUs alone");
    }
    if (devices[i].kind == DeviceKind::kNull) {
      Fail(ErrorCode::kInvalidArgument,
           "replicas: device 'null' computes nothing; accepted are 'cpu:N' and 'cuda:N'");
    }
    if (std::find(devices.begin(), devices.begin() + static_cast<std::ptrdiff_t>(i), devices[i]) !=
        devices.begin() + static_cast<std::ptrdiff_t>(i)) {
      Fail(ErrorCode::kInvalidArgument, "replicas: device ", ToString(devices[i]),
           " is given twice; each replica needs one of its own, such as 'cpu:0' and 'cpu:1'");
    }
    FindBackend(devices[i].kind).Props(devices[i].ordinal);
  }
  return devices;
}

std::mutex& TurnOfGroups() {
  static auto* turn = new std::mutex;  // groups may outlive static teardown
  return *turn;
}

/// Makes `device` the calling thread's default while it lives.
class OnDevice {
 public:
  explicit OnDevice(DeviceId device) : before_(GetDefaultDevice()) { SetDefaultDevice(device); }
  ~OnDevice() { SetDefaultDevice(before_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  const DeviceId before_;
};

// The error as the user sees it. What a communicator throws names ranks already.
[[noreturn]] void Rethrow(const std::exception_ptr& error, const std::string& who) {
  try {
    std::rethrow_exception(error);
  } catch (const Error& e) {
    if (e.code() == ErrorCode::kDistributed) throw;
    const std::string op = e.op().empty() ? "" : StrCat(e.op(), ": ");
    throw Error(e.code(), StrCat(who, ": ", op, e.message())).At(e.location());
  } catch (const std::bad_alloc&) {
    Fail(ErrorCode::kOutOfMemory, who, ": the system refused memory; use a smaller batch");
  } catch (const std::exception& e) {
    Fail(ErrorCode::kInternal, who, ": ", e.what());
  }
}

}  // namespace

ReplicaGroup::ReplicaGroup(std::vector<DeviceId> devices, Connect connect, ReplicaOptions options)
    : devices_(Checked(std::move(devices))),
      connect_(std::move(connect)),
      process_(::getpid()),
      threads_each_(options.threads_each > 0
                        ? options.threads_each
                        : std::max(1, NumThreads() / static_cast<int>(devices_.size()))),
      order_(options.order) {
  for (int i = 0; size() > 1 && i < size(); ++i) threads_.emplace_back([this, i] { Serve(i); });
}

ReplicaGroup::~ReplicaGroup() {
  if (::getpid() != process_) {  // a child of fork(), where they do not exist
    for (std::thread& t : threads_) t.detach();
    return;
  }
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_.notify_all();
  for (std::thread& t : threads_) t.join();
}

void ReplicaGroup::Serve(int replica) {
  const auto i = static_cast<size_t>(replica);
  SetNumThreads(threads_each_);
  SetDefaultDevice(devices_[i]);
  for (int64_t turn = 0;;) {
    const FunctionRef<void(int)>* fn = nullptr;
    {
      std::unique_lock lock(mutex_);
      work_.wait(lock, [&] { return stop_ || turn_ != turn; });
      if (stop_) return;
      turn = turn_;
      fn = fn_;
    }
    RunOne(replica, *fn);
    std::lock_guard lock(mutex_);
    if (--running_ == 0) done_.notify_one();
  }
}

void ReplicaGroup::RunOne(int replica, FunctionRef<void(int)> fn) {
  try {
    const Communicator::Scope scope(communicators_[static_cast<size_t>(replica)].get(), order_);
    fn(replica);
  } catch (...) {
    NoteError(replica, std::current_exception());
  }
}

// A lone replica has the caller's thread: of a small step, two switches of threads are a good part.
void ReplicaGroup::RunHere(FunctionRef<void(int)> fn) {
  const ThreadShare share(threads_each_);
  const OnDevice device(devices_[0]);
  RunOne(0, fn);
}

void ReplicaGroup::RunInThreads(FunctionRef<void(int)> fn) {
  std::unique_lock lock(mutex_);
  fn_ = &fn;
  running_ = size();
  ++turn_;
  work_.notify_all();
  done_.wait(lock, [&] { return running_ == 0; });
}

// What others throw because of it is an error of communication, and may be noted before it.
void ReplicaGroup::NoteError(int replica, const std::exception_ptr& error) {
  Communicator& mine = *communicators_[static_cast<size_t>(replica)];
  std::exception_ptr named;
  std::string why;
  bool is_cause = false;
  try {
    Rethrow(error, StrCat("rank ", mine.rank(), " (",
                          ToString(devices_[static_cast<size_t>(replica)]), ")"));
  } catch (const Error& e) {
    named = std::current_exception();
    why = e.what();
    is_cause = e.code() != ErrorCode::kDistributed;
  }
  {
    std::lock_guard lock(mutex_);
    if (error_ != nullptr && (has_cause_ || !is_cause)) return;
    error_ = named;
    has_cause_ = is_cause;
  }
  mine.Abort(why);
}

void ReplicaGroup::Run(FunctionRef<void(int)> fn) {
  if (::getpid() != process_) {
    Fail(ErrorCode::kNotImplemented,
         "replicas were made before this process was forked, and neither their threads nor what "
         "they talk through survive a fork; start workers with the 'spawn' method");
  }
  std::lock_guard turn(TurnOfGroups());
  if (communicators_.empty()) {
    auto made = connect_();
    OSTRIA_CHECK(made.size() == devices_.size());
    communicators_ = std::move(made);
  }
  if (size() == 1) {
    RunHere(fn);
  } else {
    RunInThreads(fn);
  }
  std::exception_ptr error;
  {
    std::lock_guard lock(mutex_);
    error = std::exchange(error_, nullptr);
    has_cause_ = false;
  }
  if (error == nullptr) return;
  communicators_.clear();  // an aborted group is of no use
  std::rethrow_exception(error);
}

}  // namespace ostria
