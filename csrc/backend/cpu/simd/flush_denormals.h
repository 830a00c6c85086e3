// SPDX-License-Identifier: Apache-2.0
// Denormal numbers as zeros, on this thread and while the object lives. Moments of weights that get
// no gradient decay into them after some hundred steps, and their roots and quotients are far
// slower than those of other numbers.
#pragma once

#include <xmmintrin.h>

namespace ostria {

class FlushDenormals {
 public:
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | kResults | kOperands); }
  ~FlushDenormals() { _mm_setcsr(before_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  static constexpr unsigned kResults = 0x8000, kOperands = 0x0040;  // FTZ and DAZ of MXCSR
  unsigned before_;
};

}  // namespace ostria
