// SPDX-License-Identifier: Apache-2.0
// OSTRIA_CHECK states an invariant of ours; when it breaks the user sees a RuntimeError that asks
// for a report, never an abort. Mistakes of the user are not checked here: they throw Error with a
// remedy.
#pragma once

#include "base/error.h"

#define OSTRIA_CHECK(condition, ...)                                                              \
  do {                                                                                            \
    if (!(condition)) [[unlikely]] {                                                              \
      ::ostria::Fail(::ostria::ErrorCode::kInternal,                                              \
                     "internal error, please report: ", #condition " at " __FILE__ ":", __LINE__, \
                     " " __VA_OPT__(, ) __VA_ARGS__);                                             \
    }                                                                                             \
  } while (false)
