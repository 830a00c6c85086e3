// SPDX-License-Identifier: Apache-2.0
// Random numbers and dropout.
#pragma once

#include "kernels/common/kernel.h"
#include "kernels/common/layout.h"

namespace ostria::kernels {

/// Element i has the index first row * row + i of the draw.
struct RandomParams {
  const int64_t* key = nullptr;        // seed and step
  const int64_t* first_row = nullptr;  // one number
  const void* src = nullptr;           // dropout alone
  void* dst = nullptr;
  int64_t elements = 0, row = 1;  // row: elements of one
  uint64_t stream = 0;            // mixed (MixStream)
  double a = 0, b = 1;            // low and high, or mean and deviation; dropout: b is the factor
  uint64_t limit = 0;             // dropout keeps where the word lies below this
};
OSTRIA_LAYOUT(RandomParams, 80, key, first_row, src, dst, elements, row, stream, a, b, limit);

struct PermutationParams {
  const int64_t* key = nullptr;
  int64_t* dst = nullptr;
  int32_t* owners = nullptr;  // n of them
  int64_t n = 0;
  uint64_t stream = 0;
};
OSTRIA_LAYOUT(PermutationParams, 40, key, dst, owners, n, stream);
/// Threads of the one block that permutes.
inline constexpr int kPermutationThreads = 512;

}  // namespace ostria::kernels
