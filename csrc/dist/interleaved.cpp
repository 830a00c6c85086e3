// SPDX-License-Identifier: Apache-2.0
#include "dist/interleaved.h"

#include <utility>

#include "base/check.h"
#include "dist/in_order.h"

namespace ostria {
namespace {

class Interleaved final : public InOrder {
 public:
  Interleaved(std::unique_ptr<Communicator> inner, std::shared_ptr<void> companion)
      : InOrder(std::move(inner), std::move(companion)) {
    OSTRIA_CHECK(inner_->has_pieces());
  }
  ~Interleaved() override {
    if (is_busy()) inner_->Abort("the replica ended");
  }

  void Start(int slot, std::string_view what, void* data, int64_t count, DType dtype, ReduceOp op,
             ReduceOrder order) override {
    ThrowIfFailed();
    if (started_ - finished_ == kCapacity) {
      const Blocked blocked(this);
      GoOn(finished_ + 1);
    }
    Enqueue(slot, {what, data, count, dtype, op, order});
    GoOn(finished_);
    ThrowIfFailed();
  }
  void Wait(int slot) override {
    const int64_t last = LastOf(slot);
    const Blocked blocked(finished_ < last ? this : nullptr);
    GoOn(last);
    ThrowIfFailed();
  }
  void Settle() override { GoOn(started_); }

 private:
  void Drain() override {
    GoOn(started_);
    ThrowIfFailed();
  }

  // Waits for others until `wanted` calls are done, then goes on as long as it need not wait.
  void GoOn(int64_t wanted) {
    while (is_busy()) {
      try {
        if (error_ == nullptr && !MakeNext(finished_ < wanted)) return;
      } catch (...) {
        error_ = std::current_exception();
      }
      has_begun_ = false;
      ++finished_;
    }
  }
  bool MakeNext(bool wait) {
    if (!has_begun_) {
      const Request& r = Next();
      inner_->BeginAllReduce(r.what, r.data, r.count, r.dtype, r.op, r.order);
      has_begun_ = true;
    }
    return inner_->Advance(wait);
  }

  bool has_begun_ = false;  // the next one
};

}  // namespace

std::unique_ptr<Communicator> MakeInterleaved(std::unique_ptr<Communicator> inner,
                                              std::shared_ptr<void> companion) {
  return std::make_unique<Interleaved>(std::move(inner), std::move(companion));
}

}  // namespace ostria
