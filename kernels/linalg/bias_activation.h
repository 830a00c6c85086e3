// SPDX-License-Identifier: Apache-2.0
// y = activation(y + bias) over the rows of a dense matrix, in place: what follows a product where
// the library cannot, or not as fast, do it by itself.
#pragma once

#include "kernels/common/kernel.h"
#include "kernels/common/layout.h"

namespace ostria::kernels {

/// In the order of ops::Activation.
enum BiasActivation : int32_t {
  kActNone,
  kActRelu,
  kActTanh,
  kActSigmoid,
  kActGelu,
  kActGeluTanh,
  kActSilu
};

struct BiasActivationParams {
  void* y = nullptr;
  const void* bias = nullptr;  // cols elements; nullptr: none
  int64_t rows = 0, cols = 0;
  int32_t activation = kActNone;
  int32_t unused = 0;
};
OSTRIA_LAYOUT(BiasActivationParams, 40, y, bias, rows, cols, activation, unused);

}  // namespace ostria::kernels
