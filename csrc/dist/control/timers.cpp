// SPDX-License-Identifier: Apache-2.0
#include "dist/control/timers.h"

#include <charconv>
#include <cmath>
#include <cstdlib>

#include "base/error.h"

namespace ostria::control {
namespace {

struct Row {
  Timers::ms Timers::*timer;
  const char *name, *variable;
};
constexpr Row kRows[] = {
    {&Timers::heartbeat, "heartbeat", "OSTRIA_TIMER_HEARTBEAT"},
    {&Timers::suspect, "suspect", "OSTRIA_TIMER_SUSPECT"},
    {&Timers::dead, "dead", "OSTRIA_TIMER_DEAD"},
    {&Timers::no_progress, "no progress", "OSTRIA_TIMER_NO_PROGRESS"},
    {&Timers::first_step, "first step", "OSTRIA_TIMER_FIRST_STEP"},
    {&Timers::join, "join", "OSTRIA_TIMER_JOIN"},
    {&Timers::report, "report", "OSTRIA_TIMER_REPORT"},
    {&Timers::authenticate, "authenticate", "OSTRIA_TIMER_AUTHENTICATE"},
};
constexpr double kLongest = 30.0 * 24 * 3600 * 1000;  // milliseconds

}  // namespace

Timers::ms ParseDuration(std::string_view text, std::string_view what) {
  const auto fail = [&] [[noreturn]] () {
    Fail(ErrorCode::kInvalidArgument, what, ": '", text.substr(0, 40),
         "' is no duration; write a number from 1 ms to 30 days with ms, s, min or h, as in 250ms "
         "or 2s (without a unit: seconds)");
  };
  double value = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (error != std::errc()) fail();
  const std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  if (unit == "ms")
    value *= 1;
  else if (unit == "s" || unit.empty())
    value *= 1000;
  else if (unit == "min")
    value *= 60'000;
  else if (unit == "h")
    value *= 3'600'000;
  else
    fail();
  if (!(value >= 1 && value <= kLongest)) fail();
  return Timers::ms(std::llround(value));
}

Timers TimersFrom(const Lookup& lookup) {
  Timers timers;
  for (const Row& row : kRows) {
    if (const char* text = lookup(row.variable))
      timers.*row.timer = ParseDuration(text, row.variable);
  }
  Check(timers);
  return timers;
}

Timers TimersFromEnvironment() {
  return TimersFrom([](const char* name) { return std::getenv(name); });
}

void Check(const Timers& timers) {
  for (const Row& row : kRows) {
    if ((timers.*row.timer).count() >= 1) continue;
    Fail(ErrorCode::kInvalidArgument, "the timer '", row.name, "' is ", (timers.*row.timer).count(),
         " ms; at least 1 ms (", row.variable, ")");
  }
  if (timers.heartbeat < timers.suspect && timers.suspect < timers.dead) return;
  Fail(ErrorCode::kInvalidArgument, "timers: heartbeat ", ToString(timers.heartbeat), ", suspect ",
       ToString(timers.suspect), ", dead ", ToString(timers.dead),
       "; each must be shorter than the next (OSTRIA_TIMER_HEARTBEAT, OSTRIA_TIMER_SUSPECT, "
       "OSTRIA_TIMER_DEAD)");
}

std::string ToString(Timers::ms duration) {
  return StrCat(static_cast<double>(duration.count()) / 1000.0, " s");
}

std::string ToString(const Timers& timers) {
  std::string text;
  for (const Row& row : kRows) {
    text += StrCat(text.empty() ? "" : ", ", row.name, " ", ToString(timers.*row.timer));
  }
  return text;
}

}  // namespace ostria::control
