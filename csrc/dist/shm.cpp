// SPDX-License-Identifier: Apache-2.0
// A call is a row of rounds. In a round a rank fills its buffers, publishes the round's number, and
// reads the others' once they have published it too. Buffers alternate: who publishes round t + 1
// has read what it needs of round t, so what a rank saw everybody publish may be overwritten. What
// others will read is written past the caches, so that it is all the same whether two cores share
// one: a virtual machine does not say.
#include "dist/shm.h"

#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "base/check.h"
#include "base/copy_past_caches.h"
#include "base/parallel.h"
#include "dist/futex.h"
#include "dist/reduce.h"
#include "dist/shm_segment.h"

namespace ostria {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::steady_clock;

constexpr int64_t kSmall = 64 * 1024;    // bytes that every rank reduces by itself, in one round
constexpr int64_t kReduced = 16 * 1024;  // bytes that are still near when they are shown
constexpr milliseconds kLook{20};        // between two looks whether the others are alive

// Whether a process lives, whatever else gets its number later.
class Process {
 public:
  explicit Process(int32_t pid) {
    if (pid == getpid()) return;
    fd_ = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    gone_ = fd_ < 0 && errno == ESRCH;
  }
  ~Process() {
    if (fd_ >= 0) close(fd_);
  }
  Process(Process&& other) noexcept : fd_(std::exchange(other.fd_, -1)), gone_(other.gone_) {}
  Process& operator=(Process&&) = delete;
  bool Gone() {
    if (fd_ < 0 || gone_) return gone_;
    pollfd p{fd_, POLLIN, 0};  // readable once it has ended, reaped or not
    gone_ = poll(&p, 1, 0) == 1;
    return gone_;
  }

 private:
  int fd_ = -1;  // none: this very process, or a kernel that cannot say
  bool gone_ = false;
};

class ShmCommunicator final : public Communicator {
 public:
  ShmCommunicator(int rank, int size, KeyValues& key_values, const ShmOptions& options)
      : rank_(rank),
        size_(size),
        labels_(LabelsOf(options, size)),
        timeout_(options.timeout),
        memory_(rank, size, key_values, options, labels_),
        segment_(memory_.header().segment_bytes),
        in_(static_cast<size_t>(size)) {
    memory_.block(rank).pid = getpid();
    sched_getaffinity(0, sizeof(cpu_set_t), &memory_.block(rank).cores);  // none where it fails
    memory_.block(rank).presence = Presence::kHere;
    WaitForAll(options.join_timeout);
  }
  ~ShmCommunicator() override {
    RankBlock& mine = memory_.block(rank_);
    mine.presence = Presence::kLeft;
    FutexWake(mine.round);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string_view transport() const override { return "shm"; }

  void AllReduce(std::string_view what, void* data, int64_t count, DType dtype, ReduceOp op,
                 ReduceOrder order) override {
    BeginAllReduce(what, data, count, dtype, op, order);
    Advance(true);
  }

  bool has_pieces() const override { return true; }
  void BeginAllReduce(std::string_view what, void* data, int64_t count, DType dtype, ReduceOp op,
                      ReduceOrder /*order*/) override {
    const int64_t item = SizeOf(dtype);
    begun_ = {{"all_reduce", what, count, dtype, static_cast<int>(op)}, static_cast<char*>(data)};
    if (count * item <= std::min(kSmall, segment_)) return;
    // Slices begin at cache lines.
    const int64_t unit = std::max<int64_t>(1, 64 / item);
    begun_.slice = segment_ / item / size_ / unit * unit;
    const int64_t chunk = begun_.slice * size_;
    begun_.chunks = (count + chunk - 1) / chunk;
  }
  bool Advance(bool wait) override {
    for (; begun_.round <= begun_.chunks; ++begun_.round) {
      const Call& call = begun_.call;
      const bool is_first = begun_.round == 0;
      if (!begun_.is_shown) {
        ShowInput();
        Publish(call.what, is_first ? &call : nullptr);
        begun_.is_shown = true;
      }
      if (!wait && !HaveAllCome()) return false;
      Await(call.what, is_first);
      begun_.is_shown = false;
      ReduceShown();
    }
    return true;
  }

  void ReduceScatter(std::string_view what, const void* blocks, void* out, int64_t count,
                     DType dtype, ReduceOp op, ReduceOrder /*order*/) override {
    const Call call{"reduce_scatter", what, count, dtype, static_cast<int>(op)};
    const int64_t item = SizeOf(dtype), piece = segment_ / item / size_;
    const char* const given = static_cast<const char*>(blocks);
    int64_t at = 0;
    do {
      const int64_t length = std::min(piece, count - at);
      char* const shown = memory_.input(rank_, round_ + 1);
      for (int r = 0; r < size_; ++r) {
        if (r == rank_) continue;
        CopyPastCaches(shown + r * piece * item, given + (r * count + at) * item, length * item);
      }
      Meet(what, at == 0 ? &call : nullptr);
      const char* const mine = given + (rank_ * count + at) * item;
      for (int r = 0; r < size_; ++r) {
        in_[static_cast<size_t>(r)] =
            r == rank_ ? mine : memory_.input(r, round_) + rank_ * piece * item;
      }
      void* const to[] = {static_cast<char*>(out) + at * item};
      ReduceTree(in_, to, 0, length, dtype, op);
      at += piece;
    } while (at < count);
  }

  void AllGather(std::string_view what, void* data, int64_t bytes) override {
    const Call call{"all_gather", what, bytes};
    char* const blocks = static_cast<char*>(data);
    int64_t at = 0;
    do {
      const int64_t length = std::min(segment_, bytes - at);
      CopyPastCaches(memory_.input(rank_, round_ + 1), blocks + rank_ * bytes + at, length);
      Meet(what, at == 0 ? &call : nullptr);
      for (int r = 0; r < size_; ++r) {
        if (r != rank_) Copy(blocks + r * bytes + at, memory_.input(r, round_), length);
      }
      at += segment_;
    } while (at < bytes);
  }

  void Broadcast(std::string_view what, void* data, int64_t bytes, int root) override {
    OSTRIA_CHECK(root >= 0 && root < size_);
    const Call call{"broadcast", what, bytes, DType::kUInt8, root};
    char* const first = static_cast<char*>(data);
    int64_t at = 0;
    do {
      const int64_t length = std::min(segment_, bytes - at);
      if (rank_ == root) CopyPastCaches(memory_.input(rank_, round_ + 1), first + at, length);
      Meet(what, at == 0 ? &call : nullptr);
      if (rank_ != root) Copy(first + at, memory_.input(root, round_), length);
      at += segment_;
    } while (at < bytes);
  }

  void Barrier(std::string_view what) override {
    const Call call{"barrier", what};
    Meet(what, &call);
  }

  void Abort(const std::string& why) override {
    ShmHeader& h = memory_.header();
    uint32_t none = 0;
    if (h.abort.compare_exchange_strong(none, 1)) {
      std::memcpy(h.why, why.data(), std::min(why.size(), sizeof h.why - 1));
      h.abort = 2;
    }
    for (int r = 0; r < size_; ++r) FutexWake(memory_.block(r).round);
  }
  void set_timeout(milliseconds timeout) override { timeout_ = timeout; }

 private:
  static void Copy(void* to, const void* from, int64_t bytes) {
    if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
  }
  static bool Reached(uint32_t round, uint32_t turn) {  // also when the counter wraps
    return static_cast<int32_t>(round - turn) >= 0;
  }

  // An all-reduce so far. A small one has one round, in which each rank reduces everything. In
  // round k of others, everybody's input of chunk k and results of chunk k - 1 are shown.
  struct Begun {
    Call call;
    char* data = nullptr;
    int64_t slice = 0, chunks = 0;  // elements of a rank's slice of a chunk
    int64_t round = 0;
    bool is_shown = false;
  };

  // Rank r's slice of chunk k: where it begins in the data, in bytes; what of it lies in the
  // chunk's buffers, from where on; and how many elements it has.
  struct Slice {
    int64_t in_data, in_buffer, count;
  };
  Slice SliceOf(int64_t k, int r) const {
    const int64_t item = SizeOf(begun_.call.dtype), chunk = begun_.slice * size_;
    const int64_t left = begun_.call.count - k * chunk;
    const int64_t begin = std::min(begun_.slice * r, left);
    return {(k * chunk + begin) * item, begin * item,
            std::min(begun_.slice * (r + 1), left) - begin};
  }

  void ShowInput() {
    const auto& [call, data, slice, chunks, k, is_shown] = begun_;
    char* const shown = memory_.input(rank_, round_ + 1);
    if (chunks == 0) return CopyPastCaches(shown, data, call.count * SizeOf(call.dtype));
    for (int r = 0; k < chunks && r < size_; ++r) {
      const Slice s = SliceOf(k, r);
      if (r != rank_)
        CopyPastCaches(shown + s.in_buffer, data + s.in_data, s.count * SizeOf(call.dtype));
    }
  }

  void ReduceShown() {
    const auto& [call, data, slice, chunks, k, is_shown] = begun_;
    const auto op = static_cast<ReduceOp>(call.extra);
    const auto gather = [&](char* own, int64_t at) {  // everybody's
      for (int r = 0; r < size_; ++r) {
        in_[static_cast<size_t>(r)] = r == rank_ ? own : memory_.input(r, round_) + at;
      }
    };
    if (chunks == 0) {
      gather(data, 0);
      void* const out[] = {data};
      return ReduceTree(in_, out, 0, call.count, call.dtype, op);
    }
    if (k < chunks) {
      const Slice s = SliceOf(k, rank_);
      gather(data + s.in_data, s.in_buffer);
      char *const own = data + s.in_data, *const shown = memory_.result(rank_, round_);
      void* const out[] = {own};
      const int64_t item = SizeOf(call.dtype), few = kReduced / item;
      for (int64_t at = 0; at < s.count; at += few) {
        const int64_t end = std::min(at + few, s.count);
        ReduceTree(in_, out, at, end, call.dtype, op);
        CopyPastCaches(shown + at * item, own + at * item, (end - at) * item);
      }
    }
    for (int r = 0; k > 0 && r < size_; ++r) {
      const Slice s = SliceOf(k - 1, r);
      if (r != rank_) {
        Copy(data + s.in_data, memory_.result(r, round_ - 1), s.count * SizeOf(call.dtype));
      }
    }
  }

  // Publishes the next round, returns when all have; the first round of a call compares it.
  void Meet(std::string_view what, const Call* call) {
    Publish(what, call);
    Await(what, call != nullptr);
  }
  void Publish(std::string_view what, const Call* call) {
    ThrowIfAborted(what);
    const uint32_t turn = round_ + 1;
    RankBlock& mine = memory_.block(rank_);
    if (call != nullptr) mine.calls[turn & 1] = Pack(*call);
    mine.round.store(turn);
    if (mine.sleepers.load() != 0) FutexWake(mine.round);
  }
  bool HasCome(int rank) {
    return Reached(memory_.block(rank).round.load(std::memory_order_acquire), round_ + 1);
  }
  bool HaveAllCome() {
    for (int r = 0; r < size_; ++r) {
      if (!HasCome(r)) return false;
    }
    return true;
  }
  void Await(std::string_view what, bool is_first) {
    const auto deadline = steady_clock::now() + timeout_;
    for (int r = 0; r < size_; ++r) {
      if (!HasCome(r)) WaitFor(r, round_ + 1, what, deadline);
    }
    ++round_;
    if (is_first) Compare(what);
  }

  void Compare(std::string_view what) {
    const CallRecord& record = memory_.block(rank_).calls[round_ & 1];
    for (int r = 0; r < size_; ++r) {
      const CallRecord& other = memory_.block(r).calls[round_ & 1];
      if (other.hash == record.hash) continue;
      const auto text = [&](int rank) {
        const char* const t = memory_.block(rank).calls[round_ & 1].text;
        return std::string(t, strnlen(t, sizeof record.text));
      };
      const int a = std::min(r, rank_), b = std::max(r, rank_);
      End(what, Disagreement(labels_[static_cast<size_t>(a)], text(a),
                             labels_[static_cast<size_t>(b)], text(b)));
    }
  }

  void WaitFor(int rank, uint32_t turn, std::string_view what, steady_clock::time_point deadline) {
    RankBlock& block = memory_.block(rank);
    const auto begin = steady_clock::now();
    const auto came = [&] { return Reached(block.round.load(std::memory_order_acquire), turn); };
    const bool awake = spin_.Spin(came);
    if (!awake) {
      block.sleepers.fetch_add(1);
      try {
        while (!came()) {
          ThrowIfAborted(what);
          const auto now = steady_clock::now();
          CheckAlive(turn, what);
          if (now >= deadline) End(what, Missing(turn));
          const uint32_t seen = block.round.load();
          if (!Reached(seen, turn)) {
            FutexWait(block.round, seen, std::min<nanoseconds>(kLook, deadline - now));
          }
        }
      } catch (...) {
        block.sleepers.fetch_sub(1);
        throw;
      }
      block.sleepers.fetch_sub(1);
    }
    spin_.Note(!awake, steady_clock::now() - begin);
  }

  // Ends the group where a rank that has yet to come never will.
  void CheckAlive(uint32_t turn, std::string_view what) {
    for (int r = 0; r < size_; ++r) {
      RankBlock& block = memory_.block(r);
      const std::string& label = labels_[static_cast<size_t>(r)];
      const bool left =
          block.presence == Presence::kLeft;  // before `round`: it may have come, then
      const bool gone = left || processes_[static_cast<size_t>(r)].Gone();
      if (!gone || Reached(block.round, turn)) continue;
      if (left) End(what, StrCat(label, " has left the group; all ranks must make as many calls"));
      End(what, StrCat(label, " died: its process ", block.pid.load(),
                       " ended without leaving the group; see its log"));
    }
  }

  std::string Missing(uint32_t turn) {
    std::string missing;
    for (int r = 0; r < size_; ++r) {
      if (Reached(memory_.block(r).round, turn)) continue;
      missing += StrCat(missing.empty() ? "" : ", ", labels_[static_cast<size_t>(r)]);
    }
    return StrCat(missing, " did not come within ", timeout_.count() / 1000.0, " s");
  }

  [[noreturn]] void End(std::string_view what, const std::string& why) {
    Abort(why);
    ThrowIfAborted(what);  // maybe another rank's reason, which came first
    throw Error(ErrorCode::kDistributed, std::string(what), why);
  }

  void ThrowIfAborted(std::string_view what) {
    ShmHeader& h = memory_.header();
    if (h.abort.load(std::memory_order_acquire) == 0) [[likely]]
      return;
    // Whoever ended the group may be killed while it writes why.
    for (int i = 0; i < 100 && h.abort != 2; ++i) std::this_thread::sleep_for(milliseconds(1));
    const std::string why(h.why, strnlen(h.why, sizeof h.why));
    throw Error(ErrorCode::kDistributed, std::string(what), why);
  }

  void WaitForAll(milliseconds timeout) {
    const auto deadline = steady_clock::now() + timeout;
    const auto here = [&](int r) { return memory_.block(r).presence != Presence::kNotYet; };
    for (int r = 0; r < size_; ++r) {
      while (!here(r)) {
        ThrowIfAborted("shm");
        if (steady_clock::now() >= deadline) {
          std::string missing;
          for (int m = 0; m < size_; ++m) {
            if (!here(m))
              missing += StrCat(missing.empty() ? "" : ", ", labels_[static_cast<size_t>(m)]);
          }
          End("shm", StrCat(missing, " did not come within ", timeout.count() / 1000.0,
                            " s; see the log of each"));
        }
        std::this_thread::sleep_for(milliseconds(1));
      }
    }
    memory_.CloseFile();
    for (int r = 0; r < size_; ++r) processes_.emplace_back(memory_.block(r).pid);
    spin_ = SpinBudget(AreCrowded());
  }

  // Whether there are fewer cores than ranks. Each may be bound to one of its own.
  bool AreCrowded() {
    cpu_set_t cores;
    CPU_ZERO(&cores);
    for (int r = 0; r < size_; ++r) CPU_OR(&cores, &cores, &memory_.block(r).cores);
    return std::min(CPU_COUNT(&cores), QuotaOfCores()) < size_;
  }

  const int rank_, size_;
  const std::vector<std::string> labels_;
  milliseconds timeout_;
  ShmSegment memory_;
  const int64_t segment_;
  std::vector<Process> processes_;
  std::vector<const void*> in_;  // of everybody
  Begun begun_;
  SpinBudget spin_{true};
  uint32_t round_ = 0;  // the last one that all have published
};

}  // namespace

std::unique_ptr<Communicator> MakeShm(int rank, int size, KeyValues& key_values,
                                      const ShmOptions& options) {
  return std::make_unique<ShmCommunicator>(rank, size, key_values, options);
}

}  // namespace ostria
