// SPDX-License-Identifier: Apache-2.0
#include "dist/in_order.h"

#include <chrono>
#include <utility>

namespace ostria {
namespace {

int64_t Now() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

}  // namespace

InOrder::InOrder(std::unique_ptr<Communicator> inner, std::shared_ptr<void> companion)
    : inner_(std::move(inner)),
      companion_(std::move(companion)),
      recorded_(dynamic_cast<RecordedCommunicator*>(inner_.get())) {}

InOrder::Blocked::Blocked(const InOrder* of)
    : recorder_(of != nullptr && of->recorded_ != nullptr ? &of->recorded_->recorder() : nullptr) {
  if (recorder_ != nullptr) begin_ = Now();
}
InOrder::Blocked::~Blocked() {
  if (recorder_ != nullptr) recorder_->AddBlocked(Now() - begin_);
}

void InOrder::AllReduce(std::string_view what, void* data, int64_t count, DType dtype, ReduceOp op,
                        ReduceOrder order) {
  const Blocked blocked(this);
  Drain();
  inner_->AllReduce(what, data, count, dtype, op, order);
}
void InOrder::ReduceScatter(std::string_view what, const void* blocks, void* out, int64_t count,
                            DType dtype, ReduceOp op, ReduceOrder order) {
  const Blocked blocked(this);
  Drain();
  inner_->ReduceScatter(what, blocks, out, count, dtype, op, order);
}
void InOrder::AllGather(std::string_view what, void* data, int64_t bytes) {
  const Blocked blocked(this);
  Drain();
  inner_->AllGather(what, data, bytes);
}
void InOrder::Broadcast(std::string_view what, void* data, int64_t bytes, int root) {
  const Blocked blocked(this);
  Drain();
  inner_->Broadcast(what, data, bytes, root);
}
void InOrder::Barrier(std::string_view what) {
  const Blocked blocked(this);
  Drain();
  inner_->Barrier(what);
}

void InOrder::Enqueue(int slot, const Request& request) {
  if (recorded_ != nullptr) {
    recorded_->recorder().Schedule(
        {"all_reduce", request.what, request.count, request.dtype, static_cast<int>(request.op)});
  }
  ring_[static_cast<size_t>(started_ % kCapacity)] = request;
  ++started_;
  const auto at = static_cast<size_t>(slot);
  if (at >= last_.size()) last_.resize(at + 1);
  last_[at] = started_;
}

int64_t InOrder::LastOf(int slot) const {
  const auto at = static_cast<size_t>(slot);
  return at < last_.size() ? last_[at] : 0;
}

}  // namespace ostria
