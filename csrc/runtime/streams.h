// SPDX-License-Identifier: Apache-2.0
// Steps side by side: which stream each step runs on, and what it waits for. Order comes from bytes
// alone: a step runs after every earlier one that touches common bytes of which one writes. So
// memory that is used again orders steps too, and any placement is safe.
#pragma once

#include "runtime/plan.h"

namespace ostria {

/// Sets stream and waits of every step. A step goes on where one that it waits for ended, if that
/// is the last of its stream; else to a stream of its own while there are fewer than `most`. Steps
/// that are kept stay on the first stream, and everything else comes after them.
void AssignStreams(Plan* plan, int most);

/// What is known to be done, by stream, when each step begins and when it has ended.
class HappensBefore {
 public:
  explicit HappensBefore(const Plan& plan);
  /// Whether `earlier` is done before `later` begins. earlier < later.
  bool Ordered(size_t earlier, size_t later) const;

 private:
  const Plan& plan_;
  std::vector<std::vector<int32_t>> known_;  // by step: by stream the last step that is done, or -1
};

}  // namespace ostria
