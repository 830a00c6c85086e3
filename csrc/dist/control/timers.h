// SPDX-License-Identifier: Apache-2.0
// How long the control channel waits for what. All timers of a job in one place; environment
// variables change them, and whoever serves the store prints them at start.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

namespace ostria::control {

struct Timers {
  using ms = std::chrono::milliseconds;
  ms heartbeat{1'000};      // between two signs of life
  ms suspect{5'000};        // without one: a line in the log
  ms dead{10'000};          // without one: a failure
  ms no_progress{120'000};  // that some rank waits in one collective
  ms first_step{600'000};   // the same before the first step has ended (compilation, warm-up)
  ms join{300'000};         // until all ranks have come
  ms report{10'000};        // between two lists of who has not come
  ms authenticate{5'000};   // from connecting to the end of the handshake
};

/// The value of an environment variable; nullptr where there is none.
using Lookup = std::function<const char*(const char*)>;

/// Defaults, changed by OSTRIA_TIMER_HEARTBEAT, …_SUSPECT, …_DEAD, …_NO_PROGRESS, …_FIRST_STEP,
/// …_JOIN, …_REPORT and …_AUTHENTICATE. Throws Error(kInvalidArgument) that names the variable.
Timers TimersFrom(const Lookup& lookup);
Timers TimersFromEnvironment();

/// "250ms", "2s", "1.5min", "2h", or seconds without a unit; from 1 ms to 30 days. `what` names it.
Timers::ms ParseDuration(std::string_view text, std::string_view what);

/// Throws Error(kInvalidArgument) unless heartbeat < suspect < dead and no timer is below 1 ms.
void Check(const Timers& timers);

/// "heartbeat 1 s, suspect 5 s, dead 10 s, …".
std::string ToString(const Timers& timers);
/// "10 s", "0.25 s".
std::string ToString(Timers::ms duration);

}  // namespace ostria::control
