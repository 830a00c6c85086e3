// SPDX-License-Identifier: Apache-2.0
// What the states of kernels are besides that go over operands more than once, so that a plan can
// count what they move.
#pragma once

#include <cstdint>

namespace ostria {

struct RepeatsBytes {
  virtual ~RepeatsBytes() = default;
  /// Bytes that a run reads and writes beside every operand once.
  virtual int64_t RepeatedBytes() const = 0;
};

}  // namespace ostria
