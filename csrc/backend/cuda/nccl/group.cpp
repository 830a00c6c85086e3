// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/nccl/group.h"

#include <algorithm>
#include <exception>
#include <utility>

namespace ostria::cuda {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kMostBetweenLooks{100};
constexpr milliseconds kToEnd{10'000};  // for all ranks to leave in peace

double Seconds(milliseconds t) { return static_cast<double>(t.count()) / 1000; }

// Ranks as a list of labels.
std::string Labels(const std::vector<NcclRank*>& ranks) {
  return Join(ranks, ", ", [](const NcclRank* r) { return r->Label(); });
}

}  // namespace

std::shared_ptr<NcclGroup> NcclGroup::Make(std::span<const int> ordinals,
                                           std::vector<std::unique_ptr<Communicator>> hosts,
                                           milliseconds timeout) {
  Nccl();  // says what is missing
  const std::shared_ptr<NcclGroup> group(new NcclGroup(timeout));
  for (size_t i = 0; i < hosts.size(); ++i) {
    hosts[i]->set_timeout(timeout);
    group->ranks_.push_back(
        std::make_unique<NcclRank>(*group, CudaDevice::Get(ordinals[i]), std::move(hosts[i])));
  }
  const auto deadline = Clock::now() + timeout;
  std::vector<std::thread> threads;
  std::mutex first;
  std::exception_ptr error;
  for (const auto& rank : group->ranks_) {
    threads.emplace_back([&, rank = rank.get()] {
      try {
        group->Join(*rank, deadline);
      } catch (const Error& e) {
        {
          std::lock_guard lock(first);
          if (error == nullptr) error = std::current_exception();
        }
        group->Fail(e.what());
      }
    });
  }
  for (std::thread& t : threads) t.join();
  if (error != nullptr) std::rethrow_exception(error);
  group->watcher_ = std::thread([g = group.get()] { g->Watch(); });
  return group;
}

void NcclGroup::Join(NcclRank& rank, Clock::time_point deadline) {
  constexpr std::string_view kWhat = "joining a group of GPUs";
  rank.device_.MakeCurrent();
  ncclUniqueId id = {};
  if (rank.rank() == 0) CheckNccl(Nccl().ncclGetUniqueId(&id), kWhat);
  rank.host().Broadcast(kWhat, id.internal, sizeof id.internal, 0);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ncclResult_t result = ncclSuccess;
  {
    std::lock_guard lock(rank.use_);
    result = Nccl().ncclCommInitRankConfig(&rank.comm_, rank.size(), id, rank.rank(), &config);
  }
  while (result == ncclInProgress) {
    ThrowIfFailed(kWhat);
    if (Clock::now() > deadline) {
      throw Error(ErrorCode::kDistributed, std::string(kWhat),
                  StrCat(rank.Label(), ": not all of ", rank.size(), " ranks came to NCCL within ",
                         Seconds(timeout()),
                         " s; see whether their hosts reach each other on the network that "
                         "NCCL_SOCKET_IFNAME names, and what NCCL_DEBUG=INFO says"));
    }
    std::this_thread::sleep_for(milliseconds(1));
    std::lock_guard lock(rank.use_);
    if (rank.comm_ == nullptr) continue;  // the group has failed
    const ncclResult_t asked = Nccl().ncclCommGetAsyncError(rank.comm_, &result);
    if (asked != ncclSuccess) result = asked;
  }
  if (result == ncclSuccess) return;
  throw Error(ErrorCode::kDistributed, std::string(kWhat),
              StrCat(rank.Label(), ": NCCL says: ", Nccl().ncclGetErrorString(result),
                     result == ncclInvalidUsage
                         ? "; ranks need a GPU each: two of them have one and the same"
                         : "; NCCL_DEBUG=INFO says more"));
}

milliseconds NcclGroup::timeout() const {
  std::lock_guard lock(mutex_);
  return timeout_;
}
void NcclGroup::set_timeout(milliseconds timeout) {
  for (const auto& rank : ranks_) rank->host().set_timeout(timeout);
  std::lock_guard lock(mutex_);
  timeout_ = timeout;
}

void NcclGroup::ThrowIfFailed(std::string_view what) const {
  std::lock_guard lock(mutex_);
  if (!why_.empty()) throw Error(ErrorCode::kDistributed, std::string(what), why_);
}

void NcclGroup::BeginRun(NcclRank& rank) {
  std::lock_guard lock(mutex_);
  if (!why_.empty()) throw Error(ErrorCode::kDistributed, why_);
  rank.in_run_ = true;
}

void NcclGroup::EndRun(NcclRank& rank, std::shared_ptr<const Event> done) {
  {
    std::lock_guard lock(mutex_);
    rank.in_run_ = false;  // where it failed meanwhile, Fail has said so to the device
    ++rank.runs_;
    rank.watched_.push_back({std::move(done), Clock::now()});
  }
  changed_.notify_all();
}

void NcclGroup::Fail(const std::string& why) {
  {
    std::lock_guard lock(mutex_);
    if (!why_.empty()) return;
    why_ = why;
    for (const auto& rank : ranks_) {
      if (!rank->in_run_ && rank->watched_.empty()) continue;
      rank->device_.Lose(StrCat(
          why, ". Variables on ",
          ToString(DeviceId{DeviceKind::kCuda, static_cast<int16_t>(rank->device_.ordinal())}),
          " hold parts of a step: start the program again, from its last checkpoint"));
    }
  }
  changed_.notify_all();
  for (const auto& rank : ranks_) rank->host().Abort(why);
  AbortAll();
}

void NcclGroup::AbortAll() {
  std::vector<std::pair<CudaDevice*, ncclComm_t>> all;
  for (const auto& rank : ranks_) {
    std::lock_guard lock(rank->use_);
    if (rank->comm_ != nullptr) all.emplace_back(&rank->device_, rank->comm_);
    rank->comm_ = nullptr;
  }
  if (all.empty()) return;
  std::thread([all = std::move(all)] {
    // Nothing is left to tell of an error here: the group has failed, and users know why.
    Nccl().ncclGroupStart();
    for (const auto& [device, comm] : all) {
      try {
        device->MakeCurrent();
      } catch (const Error&) {  // of a device that has failed, or a process that ends
      }
      Nccl().ncclCommAbort(comm);
    }
    Nccl().ncclGroupEnd();
  }).detach();
}

std::string NcclGroup::ErrorOf(NcclRank& rank) {
  std::lock_guard lock(rank.use_);
  ncclResult_t error = ncclSuccess;
  if (rank.comm_ == nullptr) return {};
  const ncclResult_t asked = Nccl().ncclCommGetAsyncError(rank.comm_, &error);
  if (asked != ncclSuccess) error = asked;
  if (error == ncclSuccess || error == ncclInProgress) return {};
  const char* last = Nccl().ncclGetLastError(rank.comm_);
  return StrCat(Nccl().ncclGetErrorString(error), last == nullptr || *last == 0 ? "" : ": ",
                last == nullptr ? "" : last);
}

// With mutex_ held.
std::string NcclGroup::Overdue(Clock::time_point now) {
  std::vector<NcclRank*> overdue, late;
  int64_t most = 0, least = ranks_[0]->runs_;
  for (const auto& rank : ranks_) {
    most = std::max(most, rank->runs_);
    least = std::min(least, rank->runs_);
    if (rank->watched_.empty()) continue;
    if (now - std::max(rank->watched_.front().since, rank->moved_) > timeout_) {
      overdue.push_back(rank.get());
    }
  }
  if (overdue.empty()) return {};
  for (const auto& rank : ranks_) {
    if (least < most && rank->runs_ == least) late.push_back(rank.get());
  }
  const std::string what = overdue[0]->Begun();
  if (!late.empty()) {
    return StrCat(what, ": ", Labels(late), " did not come within ", Seconds(timeout_), " s");
  }
  return StrCat(
      what, ": not done within ", Seconds(timeout_), " s on ", Labels(overdue), " of ",
      ranks_[0]->size(),
      "; another rank stopped, or a link between GPUs does not work: NCCL_DEBUG=INFO says "
      "what NCCL uses");
}

std::string NcclGroup::Examine() {
  std::vector<std::pair<NcclRank*, std::shared_ptr<const Event>>> fronts;
  {
    std::lock_guard lock(mutex_);
    for (const auto& rank : ranks_) {
      if (!rank->watched_.empty()) fronts.emplace_back(rank.get(), rank->watched_.front().done);
    }
  }
  for (const auto& rank : ranks_) {
    const std::string error = ErrorOf(*rank);
    if (!error.empty()) return StrCat(rank->Begun(), ": ", rank->Label(), ": NCCL says: ", error);
  }
  for (const auto& [rank, event] : fronts) {
    try {
      rank->device_.MakeCurrent();
      if (!event->Done()) continue;
    } catch (const Error& e) {
      return StrCat(rank->Label(), ": ", e.what());
    }
    std::lock_guard lock(mutex_);
    rank->watched_.pop_front();
    rank->moved_ = Clock::now();
  }
  std::lock_guard lock(mutex_);
  return Overdue(Clock::now());
}

void NcclGroup::Watch() {
  const auto at_work = [&] {
    return std::any_of(ranks_.begin(), ranks_.end(),
                       [](const auto& r) { return !r->watched_.empty(); });
  };
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stop_ || !why_.empty() || at_work(); });
      if (stop_ || !why_.empty()) return;
    }
    const std::string why = Examine();
    if (!why.empty()) return Fail(why);
    std::unique_lock lock(mutex_);
    const auto pause = std::clamp(timeout_ / 16, milliseconds(1), kMostBetweenLooks);
    changed_.notify_all();
    changed_.wait_for(lock, pause, [&] { return stop_ || !why_.empty(); });
  }
}

// NCCL wants its communicators of one process finalised together.
bool NcclGroup::Finalised() {
  for (const auto& rank : ranks_) {
    rank->device_.MakeCurrent();
    const ncclResult_t result = Nccl().ncclCommFinalize(rank->comm_);
    if (result != ncclSuccess && result != ncclInProgress) return false;
  }
  const auto deadline = Clock::now() + std::min(kToEnd, timeout());
  for (const auto& rank : ranks_) {
    for (ncclResult_t state = ncclInProgress; state == ncclInProgress;) {
      if (Nccl().ncclCommGetAsyncError(rank->comm_, &state) != ncclSuccess) return false;
      if (state == ncclSuccess) break;
      if (state != ncclInProgress || Clock::now() > deadline) return false;
      std::this_thread::sleep_for(milliseconds(1));
    }
  }
  return true;
}

NcclGroup::~NcclGroup() {
  bool peace = true;
  {
    std::unique_lock lock(mutex_);
    const auto settled = [&] {
      return !why_.empty() || std::all_of(ranks_.begin(), ranks_.end(),
                                          [](const auto& r) { return r->watched_.empty(); });
    };
    if (watcher_.joinable()) changed_.wait_for(lock, std::min(kToEnd, timeout_), settled);
    peace = why_.empty() && settled() && watcher_.joinable();
    stop_ = true;
  }
  changed_.notify_all();
  if (watcher_.joinable()) watcher_.join();
  try {
    if (peace && Finalised()) {
      Nccl().ncclGroupStart();
      for (const auto& rank : ranks_) {
        rank->device_.MakeCurrent();
        Nccl().ncclCommDestroy(rank->comm_);
        rank->comm_ = nullptr;
      }
      Nccl().ncclGroupEnd();
    }
  } catch (const Error&) {  // of a device that has failed
  }
  AbortAll();  // what has not ended in peace
}

}  // namespace ostria::cuda
