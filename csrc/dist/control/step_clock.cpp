// SPDX-License-Identifier: Apache-2.0
#include "dist/control/step_clock.h"

#include <algorithm>

namespace ostria::control {

void StepClock::Begin(int64_t now, int64_t blocked) {
  begun_ = now;
  begun_blocked_ = blocked;
}

void StepClock::End(int64_t now, int64_t blocked, bool counts, bool opaque) {
  if (begun_ < 0) return;
  // What counts blocked time begins anew where a group of replicas does.
  const int64_t inside = std::clamp<int64_t>(blocked - begun_blocked_, 0, now - begun_);
  const int64_t before = std::max<int64_t>(0, begun_blocked_ - ended_blocked_);
  if (counts && ended_ >= 0) {
    const int64_t run = now - begun_;
    pace_.steps += 1;
    pace_.input += input_;
    pace_.ahead += ahead_;
    pace_.compute += opaque ? 0 : run - inside;
    pace_.comm += before + (opaque ? run : inside);
    pace_.between += std::max<int64_t>(0, begun_ - ended_ - before - input_ - skipped_);
  }
  ended_ = now;
  ended_blocked_ = blocked;
  begun_ = -1;
  input_ = ahead_ = skipped_ = 0;
}

}  // namespace ostria::control
