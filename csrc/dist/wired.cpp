// SPDX-License-Identifier: Apache-2.0
#include "dist/wired.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "dist/reduce.h"

namespace ostria {
namespace {

using Transfer = std::unique_ptr<Wire::Transfer>;

constexpr int64_t kChunk = 2 << 20;  // bytes of all slices together; two chunks are on their way

// What every rank sends to every other first, always of this size: Gloo ends the process where
// sizes differ, and a sum of calls that happen to have one size would be one of apples and pears.
// Small data come along.
struct Hello {
  CallRecord call;
  char data[768];  // with the record and headers less than a packet of Ethernet
};

class WiredCommunicator final : public Communicator {
 public:
  WiredCommunicator(std::string_view transport, std::unique_ptr<Wire> wire)
      : transport_(transport),
        rank_(wire->rank()),
        size_(wire->size()),
        owned_(std::move(wire)),
        wire_(*owned_) {
    for (auto& hellos : heard_) hellos.resize(static_cast<size_t>(size_));
    if (size_ > 1) Listen();
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string_view transport() const override { return transport_; }

  void AllReduce(std::string_view what, void* data, int64_t count, DType dtype, ReduceOp op,
                 ReduceOrder /*order*/) override {
    const Call call{"all_reduce", what, count, dtype, static_cast<int>(op)};
    const int64_t bytes = count * SizeOf(dtype);
    Meet(call, data, bytes);
    if (bytes <= kInline) {
      std::vector<const void*> in;
      for (int r = 0; r < size_; ++r) in.push_back(r == rank_ ? data : heard(r).data);
      ReduceTree(in, {&data, 1}, 0, count, dtype, op);
    } else {
      ReduceChunks(static_cast<char*>(data), count, dtype, op);
    }
    Finish();
  }

  void ReduceScatter(std::string_view what, const void* blocks, void* out, int64_t count,
                     DType dtype, ReduceOp op, ReduceOrder /*order*/) override {
    const Call call{"reduce_scatter", what, count, dtype, static_cast<int>(op)};
    Meet(call, nullptr, 0);
    const int64_t item = SizeOf(dtype), piece = std::max<int64_t>(1, kChunk / item / size_);
    const char* const given = static_cast<const char*>(blocks);
    for (int64_t at = 0; at < count; at += piece) {
      const int64_t length = std::min(piece, count - at);
      Slices slices;
      Scatter(
          slices, scratch_[0], dtype, [&](int) { return length; },
          [&](int r) { return given + (r * count + at) * item; });
      Gather(slices, static_cast<char*>(out) + at * item, length, dtype, op);
      for (Transfer& t : slices.sends) wire_.Wait(*t);
    }
    Finish();
  }

  void AllGather(std::string_view what, void* data, int64_t bytes) override {
    char* const blocks = static_cast<char*>(data);
    const Call call{"all_gather", what, bytes};
    Meet(call, blocks + rank_ * bytes, bytes);
    for (int r = 0; bytes <= kInline && r < size_; ++r) {
      if (r != rank_) Copy(blocks + r * bytes, heard(r).data, bytes);
    }
    for (int64_t at = 0; bytes > kInline && at < bytes; at += kChunk) {
      const int64_t length = std::min(kChunk, bytes - at);
      std::vector<Transfer> transfers;
      const uint64_t slot = NextSlot();
      for (const int r : Others()) {
        transfers.push_back(wire_.Receive(r, slot, blocks + r * bytes + at, length));
      }
      for (const int r : Others()) {
        transfers.push_back(wire_.Send(r, slot, blocks + rank_ * bytes + at, length));
      }
      for (Transfer& t : transfers) wire_.Wait(*t);
    }
    Finish();
  }

  void Broadcast(std::string_view what, void* data, int64_t bytes, int root) override {
    OSTRIA_CHECK(root >= 0 && root < size_);
    const Call call{"broadcast", what, bytes, DType::kUInt8, root};
    Meet(call, data, rank_ == root ? bytes : 0);
    char* const first = static_cast<char*>(data);
    if (bytes <= kInline && rank_ != root) Copy(first, heard(root).data, bytes);
    for (int64_t at = 0; bytes > kInline && at < bytes; at += kChunk) {
      const int64_t length = std::min(kChunk, bytes - at);
      std::vector<Transfer> transfers;
      const uint64_t slot = NextSlot();
      if (rank_ != root) {
        transfers.push_back(wire_.Receive(root, slot, first + at, length));
      } else {
        for (const int r : Others()) transfers.push_back(wire_.Send(r, slot, first + at, length));
      }
      for (Transfer& t : transfers) wire_.Wait(*t);
    }
    Finish();
  }

  void Barrier(std::string_view what) override {
    Meet({"barrier", what}, nullptr, 0);
    Finish();
  }

  void Abort(const std::string& why) override { wire_.Abort(why); }
  void set_timeout(std::chrono::milliseconds timeout) override { wire_.set_timeout(timeout); }

 private:
  static constexpr int64_t kInline = sizeof Hello::data;

  // Kept between calls: fresh pages cost as much as the bytes that fill them.
  struct Scratch {
    std::unique_ptr<char[]> memory;
    int64_t bytes = 0;
  };
  // A chunk's slices on their way: this rank's of everybody, in scratch memory, and everybody's of
  // this rank.
  struct Slices {
    std::vector<Transfer> receives, sends;
    std::vector<const void*> in;
  };

  static void Copy(void* to, const void* from, int64_t bytes) {
    if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
  }
  const Hello& heard(int rank) const { return heard_[call_ & 1][static_cast<size_t>(rank)]; }
  // Beginning with the next rank, so that not all send to rank 0 first.
  std::vector<int> Others() const {
    std::vector<int> others;
    for (int i = 1; i < size_; ++i) others.push_back((rank_ + i) % size_);
    return others;
  }
  uint64_t NextSlot() { return call_ << 24 | ++phase_; }

  // Receives of the next call wait before it begins, so its first bytes go through at once.
  void Listen() {
    listening_.clear();
    for (const int r : Others()) {
      Hello& hello = heard_[(call_ + 1) & 1][static_cast<size_t>(r)];
      listening_.push_back(wire_.Receive(r, (call_ + 1) << 24, &hello, sizeof hello));
    }
  }

  // All ranks tell what they call, with `data` where they are small; throws where calls differ.
  void Meet(const Call& call, const void* data, int64_t bytes) {
    wire_.Begin(call.what);
    ++call_;
    phase_ = 0;
    said_.call = Pack(call);
    if (bytes <= kInline) Copy(said_.data, data, bytes);
    if (size_ == 1) return;
    std::vector<Transfer> sends;
    for (const int r : Others()) sends.push_back(wire_.Send(r, call_ << 24, &said_, sizeof said_));
    for (Transfer& t : listening_) wire_.Wait(*t);
    for (Transfer& t : sends) wire_.Wait(*t);
    for (int r = 0; r < size_; ++r) {
      if (r == rank_ || heard(r).call.hash == said_.call.hash) continue;
      const auto text = [&](int rank) {
        const CallRecord& c = rank == rank_ ? said_.call : heard(rank).call;
        return std::string(c.text, strnlen(c.text, sizeof c.text));
      };
      const int a = std::min(r, rank_), b = std::max(r, rank_);
      wire_.End(Disagreement(wire_.label(a), text(a), wire_.label(b), text(b)));
    }
  }
  // At the end and not before: a rank that leaves after its last call then has no bytes unread,
  // which would make the kernel drop what the others have still to read.
  void Finish() {
    if (size_ > 1) Listen();
  }

  // Sends everybody their slice and awaits those of this rank's; slices may be empty.
  template <class LengthOf, class PlaceOf>
  void Scatter(Slices& s, Scratch& scratch, DType dtype, const LengthOf& length_of,
               const PlaceOf& place_of) {
    const int64_t item = SizeOf(dtype), bytes = length_of(rank_) * item;
    const uint64_t slot = NextSlot();
    if (scratch.bytes < bytes * size_) {
      scratch.memory = std::make_unique_for_overwrite<char[]>(static_cast<size_t>(bytes * size_));
      scratch.bytes = bytes * size_;
    }
    s.in.resize(static_cast<size_t>(size_));
    for (int r = 0; r < size_; ++r) {
      char* const to = scratch.memory.get() + r * bytes;
      s.in[static_cast<size_t>(r)] = r == rank_ ? place_of(r) : to;
      if (r != rank_ && bytes > 0) s.receives.push_back(wire_.Receive(r, slot, to, bytes));
    }
    for (const int r : Others()) {
      if (length_of(r) == 0) continue;
      s.sends.push_back(wire_.Send(r, slot, place_of(r), length_of(r) * item));
    }
  }
  void Gather(Slices& slices, void* result, int64_t length, DType dtype, ReduceOp op) {
    for (Transfer& t : slices.receives) wire_.Wait(*t);
    ReduceTree(slices.in, {&result, 1}, 0, length, dtype, op);
  }

  // While a chunk is reduced the next is on its way, and so are the sums of the one before.
  void ReduceChunks(char* data, int64_t count, DType dtype, ReduceOp op) {
    const int64_t item = SizeOf(dtype), slice = std::max<int64_t>(1, kChunk / item / size_);
    const int64_t chunk = slice * size_, chunks = (count + chunk - 1) / chunk;
    // Of rank r's slice of chunk k. The last chunk is cut evenly too, but for what remains.
    const auto length = [&](int64_t k, int r) {
      const int64_t all = std::min(chunk, count - k * chunk), each = all / size_;
      return r == size_ - 1 ? all - each * (size_ - 1) : each;
    };
    const auto place = [&](int64_t k, int r) {
      return data + (k * chunk + length(k, 0) * r) * item;
    };
    Slices slices[2];
    std::vector<Transfer> sums[2];
    const auto scatter = [&](int64_t k) {
      Slices& s = slices[k % 2];
      s.receives.clear();
      s.sends.clear();
      Scatter(
          s, scratch_[k % 2], dtype, [&](int r) { return length(k, r); },
          [&](int r) { return place(k, r); });
    };
    const auto wait = [&](std::vector<Transfer>& transfers) {
      for (Transfer& t : transfers) wire_.Wait(*t);
      transfers.clear();
    };
    scatter(0);
    for (int64_t k = 0; k < chunks; ++k) {
      Slices& s = slices[k % 2];
      if (k + 1 < chunks) scatter(k + 1);
      Gather(s, place(k, rank_), length(k, rank_), dtype, op);
      wait(s.sends);  // before sums come to where they are sent from
      std::vector<Transfer>& mine = sums[k % 2];
      const uint64_t slot = NextSlot();
      for (const int r : Others()) {
        if (length(k, r) == 0) continue;
        mine.push_back(wire_.Receive(r, slot, place(k, r), length(k, r) * item));
      }
      for (const int r : Others()) {
        if (length(k, rank_) == 0) continue;
        mine.push_back(wire_.Send(r, slot, place(k, rank_), length(k, rank_) * item));
      }
      wait(sums[(k + 1) % 2]);
    }
    for (auto& s : sums) wait(s);
  }

  const std::string_view transport_;
  const int rank_, size_;
  Hello said_{};
  std::vector<Hello> heard_[2];
  Scratch scratch_[2];
  uint64_t call_ = 0, phase_ = 0;
  const std::unique_ptr<Wire> owned_;  // after the memory that it fills
  Wire& wire_;
  std::vector<Transfer> listening_;
};

}  // namespace

std::unique_ptr<Communicator> MakeWired(std::string_view transport, std::unique_ptr<Wire> wire) {
  return std::make_unique<WiredCommunicator>(transport, std::move(wire));
}

}  // namespace ostria
