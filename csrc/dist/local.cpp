// SPDX-License-Identifier: Apache-2.0
#include "dist/local.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <utility>

#include "base/check.h"
#include "dist/group.h"
#include "dist/reduce.h"

namespace ostria {
namespace {

using std::chrono::milliseconds;

// Where ranks meet. Two meetings make a call: before it all have published, after it all are done.
class Group {
 public:
  explicit Group(std::vector<std::string> names)
      : names_(std::move(names)), calls_(names_.size()), data_(names_.size()), at_(names_.size()) {}

  int size() const { return static_cast<int>(names_.size()); }
  std::span<void* const> data() const { return data_; }
  void* data(int rank) const { return data_[static_cast<size_t>(rank)]; }

  void Publish(int rank, const Call& call, void* data, milliseconds timeout) {
    {
      std::lock_guard lock(mutex_);
      calls_[static_cast<size_t>(rank)] = call;
      data_[static_cast<size_t>(rank)] = data;
    }
    Meet(rank, timeout);
    std::unique_lock lock(mutex_);
    ThrowIfAborted(call.what);  // who ended the group may have left, with what its call names
    for (int r = 0; r < size(); ++r) {
      const Call& other = calls_[static_cast<size_t>(r)];
      if (other == call) continue;
      const int first = std::min(r, rank), second = std::max(r, rank);
      AbortLocked(Disagreement(Text(first), ToString(calls_[static_cast<size_t>(first)]),
                               Text(second), ToString(calls_[static_cast<size_t>(second)])));
      break;
    }
    ThrowIfAborted(call.what);
  }

  // Returns when all ranks came as often as this one.
  void Meet(int rank, milliseconds timeout) {
    std::unique_lock lock(mutex_);
    const std::string_view what = calls_[static_cast<size_t>(rank)].what;
    ThrowIfAborted(what);
    const int64_t turn = ++at_[static_cast<size_t>(rank)];
    const auto all_came = [&] {
      return std::all_of(at_.begin(), at_.end(), [&](int64_t at) { return at >= turn; });
    };
    if (all_came()) {
      came_.notify_all();
      return;
    }
    const bool in_time = came_.wait_for(lock, timeout, [&] { return !why_.empty() || all_came(); });
    if (!in_time) {
      std::string missing;
      for (int r = 0; r < size(); ++r) {
        if (at_[static_cast<size_t>(r)] < turn) {
          missing = StrCat(missing, missing.empty() ? "" : ", ", Text(r));
        }
      }
      AbortLocked(StrCat(missing, " did not come within ", timeout.count() / 1000.0, " s"));
    }
    if (!all_came()) ThrowIfAborted(what);
  }

  void Abort(const std::string& why) {
    std::lock_guard lock(mutex_);
    AbortLocked(why);
  }

 private:
  std::string Text(int rank) const {
    return StrCat("rank ", rank, " (", names_[static_cast<size_t>(rank)], ")");
  }
  void AbortLocked(const std::string& why) {
    if (why_.empty()) why_ = why;
    came_.notify_all();
  }
  void ThrowIfAborted(std::string_view what) const {
    if (!why_.empty()) throw Error(ErrorCode::kDistributed, std::string(what), why_);
  }

  const std::vector<std::string> names_;
  std::mutex mutex_;  // guards what follows; between meetings data_ is read without it
  std::condition_variable came_;
  std::vector<Call> calls_;
  std::vector<void*> data_;
  std::vector<int64_t> at_;  // how often each rank came
  std::string why_;          // of Abort
};

// Elements [begin, end) of which rank `rank` takes care.
std::pair<int64_t, int64_t> Slice(int64_t count, int rank, int size) {
  return {count * rank / size, count * (rank + 1) / size};
}

class LocalCommunicator final : public Communicator {
 public:
  LocalCommunicator(std::shared_ptr<Group> group, int rank)
      : group_(std::move(group)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return group_->size(); }
  std::string_view transport() const override { return "local"; }

  void AllReduce(std::string_view what, void* data, int64_t count, DType dtype, ReduceOp op,
                 ReduceOrder /*order*/) override {
    Publish({"all_reduce", what, count, dtype, static_cast<int>(op)}, data);
    const auto [begin, end] = Slice(count, rank_, size());
    in_.assign(group_->data().begin(), group_->data().end());
    ReduceTree(in_, group_->data(), begin, end, dtype, op);
    Finish();
  }

  void ReduceScatter(std::string_view what, const void* blocks, void* out, int64_t count,
                     DType dtype, ReduceOp op, ReduceOrder /*order*/) override {
    Publish({"reduce_scatter", what, count, dtype, static_cast<int>(op)},
            const_cast<void*>(blocks));
    in_.clear();
    for (const void* of_rank : group_->data()) {
      in_.push_back(static_cast<const char*>(of_rank) + rank_ * count * SizeOf(dtype));
    }
    ReduceTree(in_, {&out, 1}, 0, count, dtype, op);
    Finish();
  }

  void AllGather(std::string_view what, void* data, int64_t bytes) override {
    Publish({"all_gather", what, bytes}, data);
    for (int r = 0; r < size(); ++r) CopyFrom(r, data, bytes * r, bytes);
    Finish();
  }

  void Broadcast(std::string_view what, void* data, int64_t bytes, int root) override {
    OSTRIA_CHECK(root >= 0 && root < size());
    Publish({"broadcast", what, bytes, DType::kUInt8, root}, data);
    CopyFrom(root, data, 0, bytes);
    Finish();
  }

  void Barrier(std::string_view what) override {
    Publish({"barrier", what}, nullptr);
    Finish();  // or the next call would overwrite what others still compare
  }

  void Abort(const std::string& why) override { group_->Abort(why); }
  void set_timeout(milliseconds timeout) override { timeout_ = timeout; }

 private:
  void Publish(const Call& call, void* data) { group_->Publish(rank_, call, data, timeout_); }
  void Finish() { group_->Meet(rank_, timeout_); }
  void CopyFrom(int rank, void* data, int64_t offset, int64_t bytes) {
    if (rank == rank_) return;
    std::memcpy(static_cast<char*>(data) + offset,
                static_cast<const char*>(group_->data(rank)) + offset, static_cast<size_t>(bytes));
  }

  std::shared_ptr<Group> group_;
  int rank_;
  std::vector<const void*> in_;  // of everybody
  milliseconds timeout_{120'000};
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> MakeLocalGroup(std::vector<std::string> names) {
  const int size = static_cast<int>(names.size());
  const auto group = std::make_shared<Group>(std::move(names));
  std::vector<std::unique_ptr<Communicator>> ranks;
  for (int r = 0; r < size; ++r) ranks.push_back(std::make_unique<LocalCommunicator>(group, r));
  return ranks;
}

}  // namespace ostria
