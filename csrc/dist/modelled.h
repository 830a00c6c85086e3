// SPDX-License-Identifier: Apache-2.0
// Rank 0 of a group of any size whose other ranks are not there. They are taken to hold what rank 0
// holds: a sum is `size` times the data, and every rank's block is rank 0's. Calls are done at
// once and written down; how long they would take is computed by who reads them, `ostria simulate`.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend/communicator.h"

namespace ostria {

enum class ModelledKind : uint8_t {
  kAllReduce,
  kReduceScatter,
  kAllGather,
  kBroadcast,
  kBarrier,
  kStart,  // of an all_reduce that runs beside what follows
  kWait,   // for all that was started under the slot
};
std::string_view ToString(ModelledKind kind);

struct ModelledCall {
  ModelledKind kind = ModelledKind::kBarrier;
  std::string what;
  int64_t bytes = 0;           // of the whole: those of all blocks where there are blocks
  int slot = -1;               // of a start and a wait
  int64_t begin = 0, end = 0;  // nanoseconds of the monotonic clock; between them nobody computes
};

/// The calls of one rank, in their order. Any thread may call.
class CallLog {
 public:
  void Add(ModelledCall call);
  std::vector<ModelledCall> Calls() const;
  /// Of all calls that reduce.
  int64_t reduced_bytes() const;

 private:
  mutable std::mutex mutex_;  // guards what follows
  std::vector<ModelledCall> calls_;
  int64_t reduced_bytes_ = 0;
};

/// `size`: at least 1. Calls come into `log`.
std::unique_ptr<Communicator> MakeModelled(int size, std::shared_ptr<CallLog> log);

}  // namespace ostria
