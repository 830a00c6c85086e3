// SPDX-License-Identifier: Apache-2.0
// What transports share: who is in a group, what a rank calls, and that calls which differ are told
// to users in the same words whatever carries them.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "backend/communicator.h"

namespace ostria {

/// Of a group of processes. Every rank gives the same.
struct GroupOptions {
  std::string key = "group";        // prefix of the group's keys; another one for each generation
  std::vector<std::string> labels;  // "rank 1 (host-b)"; empty: "rank 1", and so on
  std::chrono::milliseconds join_timeout{300'000};  // for all ranks to come
  std::chrono::milliseconds timeout{120'000};       // of a call; see Communicator::set_timeout
};

/// What a rank asks for; the others must ask for the same.
struct Call {
  std::string_view kind, what;
  int64_t count = 0;
  DType dtype = DType::kUInt8;
  int extra = 0;  // the reduction, or the root
  friend bool operator==(const Call&, const Call&) = default;
};
/// "all_reduce 'the gradients' of 7 float32 (sum)".
std::string ToString(const Call& call);

/// A Call as bytes that may cross processes. Equal calls have equal hashes.
struct CallRecord {
  uint64_t hash;
  char text[248];  // ToString, cut off where it is too long
};
static_assert(std::is_trivially_copyable_v<CallRecord> && sizeof(CallRecord) == 256);
CallRecord Pack(const Call& call);

/// What is said where two ranks ask for different things.
std::string Disagreement(std::string_view rank, std::string_view call, std::string_view other,
                         std::string_view other_call);

/// `labels`, or "rank 0", "rank 1", … where there are none.
std::vector<std::string> LabelsOf(const GroupOptions& options, int size);

}  // namespace ostria
