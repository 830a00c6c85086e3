// SPDX-License-Identifier: Apache-2.0
// A replica's Communicator on a GPU. What lies in host memory, and meetings, go through the host's
// transport; kernels find the rank of NCCL behind it.
#include "backend/cuda/nccl/connect.h"

#include <utility>

#include "backend/cuda/nccl/group.h"

namespace ostria::cuda {
namespace {

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(std::shared_ptr<NcclGroup> group, size_t i)
      : rank_(group, &group->rank(i)), host_(rank_->host()) {}

  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }
  std::string_view transport() const override { return "nccl"; }

  void AllReduce(std::string_view what, void* data, int64_t count, DType dtype, ReduceOp op,
                 ReduceOrder order) override {
    host_.AllReduce(what, data, count, dtype, op, order);
  }
  void ReduceScatter(std::string_view what, const void* blocks, void* out, int64_t count,
                     DType dtype, ReduceOp op, ReduceOrder order) override {
    host_.ReduceScatter(what, blocks, out, count, dtype, op, order);
  }
  void AllGather(std::string_view what, void* data, int64_t bytes) override {
    host_.AllGather(what, data, bytes);
  }
  void Broadcast(std::string_view what, void* data, int64_t bytes, int root) override {
    host_.Broadcast(what, data, bytes, root);
  }
  void Barrier(std::string_view what) override { host_.Barrier(what); }
  /// Of what the device does: for those who look between the halves of an all_reduce.
  void Wait(int slot) override { rank_->Kept(slot).Wait(); }

  std::shared_ptr<void> device_handle() const override { return rank_; }
  void BeginRun() override { rank_->group().BeginRun(*rank_); }
  void EndRun(std::shared_ptr<const Event> done) override {
    rank_->group().EndRun(*rank_, std::move(done));
  }
  void Abort(const std::string& why) override { rank_->group().Fail(why); }
  void set_timeout(std::chrono::milliseconds timeout) override {
    rank_->group().set_timeout(timeout);
  }

 private:
  std::shared_ptr<NcclRank> rank_;  // and its group
  Communicator& host_;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> ConnectByNccl(
    std::span<const int> ordinals, std::vector<std::unique_ptr<Communicator>> hosts,
    std::chrono::milliseconds timeout) {
  const size_t count = hosts.size();
  const auto group = NcclGroup::Make(ordinals, std::move(hosts), timeout);
  std::vector<std::unique_ptr<Communicator>> all;
  for (size_t i = 0; i < count; ++i) all.push_back(std::make_unique<NcclCommunicator>(group, i));
  return all;
}

}  // namespace ostria::cuda
