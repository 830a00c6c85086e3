// SPDX-License-Identifier: Apache-2.0
// Where the time of a rank's steps goes. The rank counts for itself, by its own monotonic clock,
// from the end of one step to the end of the next; all adds up from the first step on, so that a
// heartbeat that is late loses nothing. Times are given by the caller, in nanoseconds.
#pragma once

#include <cstdint>

#include "dist/control/messages.h"

namespace ostria::control {

class StepClock {
 public:
  /// `blocked`: how long the rank has been inside collectives so far.
  void Begin(int64_t now, int64_t blocked);
  /// Ends what Begin began; else it does nothing. A step that does not count, as one that was
  /// traced, is as if it had taken no time. Of an `opaque` one nobody knows when it computed and
  /// when it waited, as on a GPU: it counts as one collective.
  void End(int64_t now, int64_t blocked, bool counts, bool opaque);
  /// Since the last step so much was waiting for data, and the thread that reads ahead took so
  /// long.
  void Read(int64_t waited, int64_t ahead) {
    input_ += waited;
    ahead_ += ahead;
  }
  /// Since the last step so much was for what this rank does for all, such as a checkpoint.
  void Skip(int64_t time) { skipped_ += time; }

  const Pace& pace() const { return pace_; }

 private:
  Pace pace_;
  int64_t begun_ = -1, begun_blocked_ = 0;  // -1: it has not
  int64_t ended_ = -1, ended_blocked_ = 0;  // the last step; -1: there was none
  int64_t input_ = 0, ahead_ = 0, skipped_ = 0;
};

}  // namespace ostria::control
