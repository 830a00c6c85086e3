// SPDX-License-Identifier: Apache-2.0
// Which bytes a step of a plan reads and writes: what schedules over streams and proofs about them
// are made of.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/plan.h"

namespace ostria {

struct Access {
  Region region = Region::kNone;  // kNone: what steps report of bad data, one byte for each step
  int32_t index = 0;              // of the input, output or variable; 0 for regions
  int64_t begin = 0, end = 0;
  bool write = false;

  /// Whether the two touch a common byte and one of them writes.
  bool Conflicts(const Access& other) const {
    return (write || other.write) && region == other.region && index == other.index &&
           begin < other.end && other.begin < end;
  }
};

/// What step `step`, one of the plan's own, touches, its workspace as a write. Memory that nobody
/// writes is left out.
std::vector<Access> AccessesOf(const Plan& plan, const Step& step);

}  // namespace ostria
