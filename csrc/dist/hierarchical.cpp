// SPDX-License-Identifier: Apache-2.0
#include "dist/hierarchical.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <numeric>
#include <utility>
#include <vector>

#include "base/check.h"
#include "dist/reduce.h"

namespace ostria {
namespace {

using std::chrono::milliseconds;

constexpr int64_t kChunk = 4 << 20;  // bytes of a copy that a call needs

class HierarchicalCommunicator final : public Communicator {
 public:
  HierarchicalCommunicator(int rank, std::vector<int> ranks_of_host,
                           std::unique_ptr<Communicator> host,
                           std::unique_ptr<Communicator> leaders,
                           std::function<void(const std::string&)> abort_leaders)
      : rank_(rank),
        size_(std::accumulate(ranks_of_host.begin(), ranks_of_host.end(), 0)),
        ranks_of_host_(std::move(ranks_of_host)),
        inside_(std::move(host)),
        leaders_(std::move(leaders)),
        abort_leaders_(std::move(abort_leaders)) {
    OSTRIA_CHECK(rank >= 0 && rank < size_);
    int first = 0;
    for (const int n : ranks_of_host_) {
      first_.push_back(first);
      first += n;
    }
    host_ =
        static_cast<int>(std::upper_bound(first_.begin(), first_.end(), rank) - first_.begin()) - 1;
    const bool leads = inside_->rank() == 0;
    OSTRIA_CHECK(inside_->size() == ranks(host_) && inside_->rank() == rank - first_[Index(host_)]);
    OSTRIA_CHECK(leads == (leaders_ != nullptr));
    OSTRIA_CHECK(!leads || (leaders_->size() == hosts() && leaders_->rank() == host_));
    // Trees over hosts of as many ranks, a power of two, make up the tree over all ranks.
    const int n = ranks_of_host_[0];
    tree_of_hosts_ =
        std::has_single_bit(static_cast<unsigned>(n)) &&
        std::all_of(ranks_of_host_.begin(), ranks_of_host_.end(), [n](int m) { return m == n; });
    set_timeout(milliseconds(120'000));
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string_view transport() const override { return "hierarchical"; }

  void AllReduce(std::string_view what, void* data, int64_t count, DType dtype, ReduceOp op,
                 ReduceOrder order) override {
    const bool half = SizeOf(dtype) == 2 && IsFloat(dtype);
    if (order == ReduceOrder::kTree && !tree_of_hosts_)
      return AllReduceFlat(what, data, count, dtype, op);
    if (!half) return AllReduceHere(what, data, count, dtype, op, order);
    // Added in float32 from end to end and rounded once.
    const int64_t chunk = kChunk / 4;
    std::vector<float> wide(static_cast<size_t>(std::min(chunk, count)));
    int64_t at = 0;
    do {
      const int64_t length = std::min(chunk, count - at);
      DispatchDType(dtype, [&]<class T>(T*) {
        if constexpr (std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>) {
          T* const mine = static_cast<T*>(data) + at;
          for (int64_t i = 0; i < length; ++i)
            wide[static_cast<size_t>(i)] = static_cast<float>(mine[i]);
          AllReduceHere(what, wide.data(), length, DType::kFloat32, op, order);
          for (int64_t i = 0; i < length; ++i)
            mine[i] = static_cast<T>(wide[static_cast<size_t>(i)]);
        }
      });
      at += length;
    } while (at < count);
  }

  // More bytes than a transport of its own would need: rank r keeps block r of the whole sum.
  void ReduceScatter(std::string_view what, const void* blocks, void* out, int64_t count,
                     DType dtype, ReduceOp op, ReduceOrder order) override {
    const auto bytes = static_cast<size_t>(count * SizeOf(dtype));
    scratch_.resize(bytes * static_cast<size_t>(size_));
    if (bytes > 0) std::memcpy(scratch_.data(), blocks, scratch_.size());
    AllReduce(what, scratch_.data(), count * size_, dtype, op, order);
    if (bytes > 0) std::memcpy(out, scratch_.data() + bytes * static_cast<size_t>(rank_), bytes);
  }

  void AllGather(std::string_view what, void* data, int64_t bytes) override {
    char* const blocks = static_cast<char*>(data);
    const auto block = [&](int h) { return blocks + bytes * first_[Index(h)]; };
    Inside([&] { inside_->AllGather(what, block(host_), bytes); });
    Between([&] {
      for (int h = 0; h < hosts(); ++h) leaders_->Broadcast(what, block(h), bytes * ranks(h), h);
    });
    Back([&] { inside_->Broadcast(what, data, bytes * size_, 0); });
  }

  void Broadcast(std::string_view what, void* data, int64_t bytes, int root) override {
    OSTRIA_CHECK(root >= 0 && root < size_);
    const int h =
        static_cast<int>(std::upper_bound(first_.begin(), first_.end(), root) - first_.begin()) - 1;
    const bool here = h == host_;
    Inside([&] {
      here ? inside_->Broadcast(what, data, bytes, root - first_[Index(h)])
           : inside_->Barrier(what);
    });
    Between([&] { leaders_->Broadcast(what, data, bytes, h); });
    Back([&] { here ? inside_->Barrier(what) : inside_->Broadcast(what, data, bytes, 0); });
  }

  void Barrier(std::string_view what) override {
    Inside([&] { inside_->Barrier(what); });
    Between([&] { leaders_->Barrier(what); });
    Back([&] { inside_->Barrier(what); });
  }

  void Abort(const std::string& why) override {
    inside_->Abort(why);
    leaders_ != nullptr ? leaders_->Abort(why) : abort_leaders_(why);
  }
  // Who waits for another host waits a little longer than ranks inside wait for each other, and who
  // waits for its leader longer still: whoever knows best speaks first.
  void set_timeout(milliseconds timeout) override {
    timeout_ = timeout;
    grace_ = timeout / 8 + milliseconds(50);
    if (leaders_ != nullptr) leaders_->set_timeout(timeout_ + grace_);
  }

 private:
  static size_t Index(int i) { return static_cast<size_t>(i); }
  int hosts() const { return static_cast<int>(ranks_of_host_.size()); }
  int ranks(int host) const { return ranks_of_host_[Index(host)]; }

  // A failure on one side ends the group on the other, with the same words.
  template <class Make>
  void Guard(Communicator* other, const Make& make) {
    try {
      make();
    } catch (const Error& e) {
      if (other != nullptr) other->Abort(e.message());
      throw;
    }
  }
  template <class Make>
  void Inside(const Make& make) {
    inside_->set_timeout(timeout_);
    Guard(leaders_.get(), make);
  }
  template <class Make>
  void Between(const Make& make) {
    if (leaders_ != nullptr) Guard(inside_.get(), make);
  }
  template <class Make>
  void Back(const Make& make) {
    inside_->set_timeout(timeout_ + 2 * grace_);
    Guard(leaders_.get(), make);
  }

  void AllReduceHere(std::string_view what, void* data, int64_t count, DType dtype, ReduceOp op,
                     ReduceOrder order) {
    Inside([&] { inside_->AllReduce(what, data, count, dtype, op, order); });
    Between([&] { leaders_->AllReduce(what, data, count, dtype, op, order); });
    Back([&] { inside_->Broadcast(what, data, count * SizeOf(dtype), 0); });
  }

  // Where hosts differ, the tree over all ranks needs every rank's numbers: more bytes, same bits.
  void AllReduceFlat(std::string_view what, void* data, int64_t count, DType dtype, ReduceOp op) {
    const int64_t item = SizeOf(dtype), chunk = std::max<int64_t>(1, kChunk / item / size_);
    std::vector<char> all(Index(size_) * static_cast<size_t>(std::min(chunk, count) * item));
    char* const mine = static_cast<char*>(data);
    int64_t at = 0;
    do {
      const int64_t length = std::min(chunk, count - at), bytes = length * item;
      if (bytes > 0)
        std::memcpy(all.data() + rank_ * bytes, mine + at * item, static_cast<size_t>(bytes));
      AllGather(what, all.data(), bytes);
      std::vector<const void*> in;
      for (int r = 0; r < size_; ++r) in.push_back(all.data() + r * bytes);
      void* const out[] = {mine + at * item};
      ReduceTree(in, out, 0, length, dtype, op);
      at += length;
    } while (at < count);
  }

  const int rank_, size_;
  const std::vector<int> ranks_of_host_;
  std::vector<int> first_;  // rank of each host
  int host_ = 0;
  bool tree_of_hosts_ = false;
  const std::unique_ptr<Communicator> inside_, leaders_;
  const std::function<void(const std::string&)> abort_leaders_;
  milliseconds timeout_{0}, grace_{0};
  std::vector<char> scratch_;  // of ReduceScatter
};

}  // namespace

std::unique_ptr<Communicator> MakeHierarchical(int rank, std::vector<int> ranks_of_host,
                                               std::unique_ptr<Communicator> host,
                                               std::unique_ptr<Communicator> leaders,
                                               std::function<void(const std::string&)> abort) {
  return std::make_unique<HierarchicalCommunicator>(rank, std::move(ranks_of_host), std::move(host),
                                                    std::move(leaders), std::move(abort));
}

}  // namespace ostria
