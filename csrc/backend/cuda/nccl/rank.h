// SPDX-License-Identifier: Apache-2.0
// One rank of a group on one GPU: its communicator, and a stream of its own that all its
// collectives go through in the host's order, so that every rank has them in one order whatever
// runs beside them. Captured streams take it along: a step's collectives are nodes of its graph.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backend/communicator.h"
#include "backend/cuda/libraries/nccl.h"
#include "backend/cuda/stream.h"
#include "base/parallel.h"

namespace ostria::cuda {

class NcclGroup;

/// NCCL's name of a dtype; throws Error(kNotImplemented) for one that it does not have.
ncclDataType_t NcclTypeOf(std::string_view what, DType dtype);
ncclRedOp_t NcclOpOf(ReduceOp op);

class NcclRank {
 public:
  /// `host`: the same rank in host memory.
  NcclRank(NcclGroup& group, CudaDevice& device, std::unique_ptr<Communicator> host);
  ~NcclRank();
  NcclRank(const NcclRank&) = delete;
  NcclRank& operator=(const NcclRank&) = delete;

  int rank() const { return host_->rank(); }
  int size() const { return host_->size(); }
  /// "rank 1 (cuda:1)".
  std::string Label() const;
  Communicator& host() { return *host_; }
  CudaDevice& device() { return device_; }
  NcclGroup& group() { return group_; }

  // While the device's lock is held:

  /// Puts the collectives that `make` asks NCCL for behind what is in `stream`; returns when they
  /// will be done. `what` names them to users. Throws Error(kDistributed).
  std::shared_ptr<const Event> Enqueue(
      CudaStream& stream, std::string_view what,
      FunctionRef<ncclResult_t(ncclComm_t comm, cudaStream_t stream)> make);
  /// Between the two halves of an all_reduce.
  void Keep(int slot, std::shared_ptr<const Event> done);
  const Event& Kept(int slot) const { return *slots_.at(static_cast<size_t>(slot)); }

 private:
  friend class NcclGroup;
  /// Waits, with a deadline, for what NCCL does in the background. Throws.
  void Settle(ncclResult_t result, std::string_view what);
  uint32_t NumberOf(std::string_view what);
  /// The collective that the device has begun last.
  std::string Begun();

  NcclGroup& group_;
  CudaDevice& device_;
  std::unique_ptr<Communicator> host_;
  CudaStream stream_;
  std::mutex use_;  // of comm_; never held for long
  ncclComm_t comm_ = nullptr;
  std::vector<std::shared_ptr<const Event>> slots_;

  // Which collective runs: the device copies its number to pinned memory before it.
  std::mutex names_mutex_;
  std::vector<std::string> names_;
  uint32_t* numbers_ = nullptr;  // 0, 1, 2, … on the device
  volatile uint32_t* begun_ = nullptr;

  // Of the group, under its mutex:
  struct Watched {
    std::shared_ptr<const Event> done;
    std::chrono::steady_clock::time_point since;
  };
  std::deque<Watched> watched_;
  std::chrono::steady_clock::time_point moved_;  // when work was last seen to be done
  bool in_run_ = false;
  int64_t runs_ = 0;
};

}  // namespace ostria::cuda
