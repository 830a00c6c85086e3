// SPDX-License-Identifier: Apache-2.0
// Weights of a recurrent layer in the space that cuDNN wants them in, and back. Ours are [features,
// gates * units], [units, gates * units] and rows of biases; the space holds the transposes of the
// two matrices, then the biases, all without gaps and with gates in cuDNN's order.
#pragma once

#include "kernels/common/kernel.h"
#include "kernels/common/layout.h"

namespace ostria::kernels {

struct RecurrentPackParams {
  void *kernel = nullptr, *recurrent = nullptr, *bias = nullptr;
  void* space = nullptr;
  int64_t features = 0, units = 0, gates = 0;
  int64_t biases = 0;  // rows of them
  int64_t swaps = 0;   // 1: the first two gates change places
};
OSTRIA_LAYOUT(RecurrentPackParams, 72, kernel, recurrent, bias, space, features, units, gates,
              biases, swaps);

constexpr int kRecurrentTile = 32;

}  // namespace ostria::kernels
