// SPDX-License-Identifier: Apache-2.0
// Whether no kernel reported bad data that the host has not been told of, and a decision under that
// condition. One thread: two bytes of the device and a word of the host.
#pragma once

#include "kernels/common/data_error.h"
#include "kernels/common/layout.h"

namespace ostria::kernels {

struct DataAcceptedParams {
  DataErrorWord* data_error = nullptr;
  const bool* decision = nullptr;
  bool* accepted = nullptr;
  bool* decided = nullptr;  // may be `decision`
  int64_t step = 0;         // of the program; reports nothing itself
};
OSTRIA_LAYOUT(DataAcceptedParams, 40, data_error, decision, accepted, decided, step);

}  // namespace ostria::kernels
