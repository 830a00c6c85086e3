// SPDX-License-Identifier: Apache-2.0
// What is known of a process that failed, and the error that its peers get. Python sees it as
// ostria.PeerFailedError.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"

namespace ostria {

struct PeerFailure {
  int rank = -1;          // -1: no rank, such as a launcher
  std::string host;       // "": not known
  int64_t pid = 0;        // 0: not known
  std::string reason;     // what happened to it
  std::string operation;  // the last one that it told of, "" if none: "#1580 'all_reduce bucket 3'"
};

/// "rank 2 (host-b, pid 77): no heartbeat for 10 s; its last known operation was #1580 '…'".
std::string ToString(const PeerFailure& failure);

/// A wait that cannot end, because a peer failed.
class OSTRIA_API PeerFailedError : public Error {
 public:
  PeerFailedError(std::string op, PeerFailure failure)
      : Error(ErrorCode::kDistributed, std::move(op), ToString(failure)),
        failure_(std::move(failure)) {}
  const PeerFailure& failure() const { return failure_; }

 private:
  PeerFailure failure_;
};

}  // namespace ostria
