// SPDX-License-Identifier: Apache-2.0
// Calls of a Communicator as bytes between a test and ranks that another program started. The test
// has a stand-in for each rank (tests/unit/dist/mpirun.cpp); each rank makes the calls that it is
// told of (served.cpp).
#pragma once

#include <cstdint>

#include "backend/communicator.h"

namespace ostria::served {

enum class Verb : int32_t {
  kMake,  // a group; what: its key
  kDrop,
  kAllReduce,
  kReduceScatter,
  kAllGather,
  kBroadcast,
  kBarrier,
  kAbort,
  kTimeout,  // count: milliseconds
};

/// Followed by `bytes` of data.
struct Call {
  Verb verb;
  int32_t root;
  int64_t count, bytes;
  DType dtype;
  ReduceOp op;
  ReduceOrder order;
  char what[229];
};
/// Followed by `bytes`: the data afterwards, or what was thrown.
struct Answer {
  int64_t bytes;
  int64_t failed;
};

/// All of it, or false where the other side is gone.
bool WriteAll(int fd, const void* data, int64_t bytes);
bool ReadAll(int fd, void* data, int64_t bytes);

/// A rank: connects to the test's socket in `folder`, says its number, and serves until the test
/// hangs up. Exit status.
int Serve(int rank, int size, const char* transport, const char* folder);

}  // namespace ostria::served
