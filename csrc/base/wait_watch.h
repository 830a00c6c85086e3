// SPDX-License-Identifier: Apache-2.0
// WaitWatch: decides from the lengths of waits at the end of loops whether another program keeps
// the cores busy. Then a waiting thread that spins takes the core that its sibling needs, and every
// loop waits for the scheduler. Pure: time comes from the caller. Not synchronised.
#pragma once

#include <cstdint>

namespace ostria {

class WaitWatch {
 public:
  /// A loop took `took` although its work takes about `work`, both in nanoseconds. Returns whether
  /// from now on waiting threads should sleep.
  bool Note(int64_t now, int64_t took, int64_t work);
  /// Whether waiting threads should sleep at `now`; spinning is tried again after a while.
  bool Sleeping(int64_t now);

 private:
  int64_t first_ = 0;  // of the overruns that count
  int overruns_ = 0;
  int64_t wasted_ = 0;  // by them
  int64_t until_ = 0;   // sleeping until then; 0: spinning
  int64_t left_ = 0;    // when spinning was last tried again
  int64_t hold_ = 0;
};

}  // namespace ostria
