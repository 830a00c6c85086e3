// SPDX-License-Identifier: Apache-2.0
// A call is a row of rounds. In a round a rank fills its buffers, publishes the round's number, and
// reads the others' once they have published it too. Buffers alternate: who publishes round t + 1
// has read what it needs of round t, so what a rank saw everybody publish may be overwritten.
#include "dist/shm.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "base/check.h"
#include "dist/futex.h"
#include "dist/reduce.h"
#include "dist/shm_segment.h"

namespace ostria {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::steady_clock;

constexpr int64_t kSmall = 64 * 1024;  // bytes that every rank reduces by itself, in one round
constexpr milliseconds kLook{20};      // between two looks whether the others are alive

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
        in_(static_cast<size_t>(size)),
        spin_(size) {
    memory_.block(rank).pid = getpid();
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
                 ReduceOrder /*order*/) override {
    const Call call{"all_reduce", what, count, dtype, static_cast<int>(op)};
    const int64_t item = SizeOf(dtype);
    if (count * item <= std::min(kSmall, segment_)) return ReduceSmall(call, data);
    // Slices begin at cache lines.
    const int64_t unit = std::max<int64_t>(1, 64 / item);
    const int64_t slice = segment_ / item / size_ / unit * unit, chunk = slice * size_;
    const int64_t chunks = (count + chunk - 1) / chunk;
    // Round k: everybody's input of chunk k and results of chunk k - 1 are shown.
    for (int64_t k = 0; k <= chunks; ++k) {
      char* const first = static_cast<char*>(data) + k * chunk * item;
      const auto part = [&](int64_t c, int r) {  // of rank r's slice of chunk c: offset and length
        const int64_t begin = std::min(slice * r, count - c * chunk);
        return std::pair(begin * item, std::min(slice * (r + 1), count - c * chunk) - begin);
      };
      char* const shown = memory_.input(rank_, round_ + 1);
      for (int r = 0; k < chunks && r < size_; ++r) {
        const auto [at, length] = part(k, r);
        if (r != rank_) Copy(shown + at, first + at, length * item);
      }
      Meet(what, k == 0 ? &call : nullptr);
      if (k < chunks) {
        const auto [at, length] = part(k, rank_);
        for (int r = 0; r < size_; ++r) {
          in_[static_cast<size_t>(r)] = (r == rank_ ? first : memory_.input(r, round_)) + at;
        }
        void* const out[] = {first + at, memory_.result(rank_, round_)};
        ReduceTree(in_, out, 0, length, dtype, op);
      }
      for (int r = 0; k > 0 && r < size_; ++r) {
        const auto [at, length] = part(k - 1, r);
        if (r != rank_) {
          Copy(first - chunk * item + at, memory_.result(r, round_ - 1), length * item);
        }
      }
    }
  }

  void ReduceScatter(std::string_view what, void* data, int64_t count, DType dtype, ReduceOp op,
                     ReduceOrder /*order*/) override {
    const Call call{"reduce_scatter", what, count, dtype, static_cast<int>(op)};
    const int64_t item = SizeOf(dtype), piece = segment_ / item / size_;
    char* const blocks = static_cast<char*>(data);
    int64_t at = 0;
    do {
      const int64_t length = std::min(piece, count - at);
      char* const shown = memory_.input(rank_, round_ + 1);
      for (int r = 0; r < size_; ++r) {
        if (r == rank_) continue;
        Copy(shown + r * piece * item, blocks + (r * count + at) * item, length * item);
      }
      Meet(what, at == 0 ? &call : nullptr);
      char* const mine = blocks + (rank_ * count + at) * item;
      for (int r = 0; r < size_; ++r) {
        in_[static_cast<size_t>(r)] =
            r == rank_ ? mine : memory_.input(r, round_) + rank_ * piece * item;
      }
      void* const out[] = {mine};
      ReduceTree(in_, out, 0, length, dtype, op);
      at += piece;
    } while (at < count);
  }

  void AllGather(std::string_view what, void* data, int64_t bytes) override {
    const Call call{"all_gather", what, bytes};
    char* const blocks = static_cast<char*>(data);
    int64_t at = 0;
    do {
      const int64_t length = std::min(segment_, bytes - at);
      Copy(memory_.input(rank_, round_ + 1), blocks + rank_ * bytes + at, length);
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
      if (rank_ == root) Copy(memory_.input(rank_, round_ + 1), first + at, length);
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

  void ReduceSmall(const Call& call, void* data) {
    Copy(memory_.input(rank_, round_ + 1), data, call.count * SizeOf(call.dtype));
    Meet(call.what, &call);
    for (int r = 0; r < size_; ++r) {
      in_[static_cast<size_t>(r)] = r == rank_ ? data : memory_.input(r, round_);
    }
    ReduceTree(in_, {&data, 1}, 0, call.count, call.dtype, static_cast<ReduceOp>(call.extra));
  }

  // Publishes the next round, returns when all have; the first round of a call compares it.
  void Meet(std::string_view what, const Call* call) {
    ThrowIfAborted(what);
    const uint32_t turn = round_ + 1;
    RankBlock& mine = memory_.block(rank_);
    CallRecord record;
    if (call != nullptr) mine.calls[turn & 1] = record = Pack(*call);
    mine.round.store(turn);
    if (mine.sleepers.load() != 0) FutexWake(mine.round);
    const auto deadline = steady_clock::now() + timeout_;
    for (int r = 0; r < size_; ++r) {
      if (r != rank_ && !Reached(memory_.block(r).round.load(std::memory_order_acquire), turn)) {
        WaitFor(r, turn, what, deadline);
      }
    }
    round_ = turn;
    if (call != nullptr) Compare(record, what);
  }

  void Compare(const CallRecord& record, std::string_view what) {
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
  }

  const int rank_, size_;
  const std::vector<std::string> labels_;
  milliseconds timeout_;
  ShmSegment memory_;
  const int64_t segment_;
  std::vector<Process> processes_;
  std::vector<const void*> in_;  // of everybody
  SpinBudget spin_;
  uint32_t round_ = 0;
};

}  // namespace

std::unique_ptr<Communicator> MakeShm(int rank, int size, KeyValues& key_values,
                                      const ShmOptions& options) {
  return std::make_unique<ShmCommunicator>(rank, size, key_values, options);
}

}  // namespace ostria
