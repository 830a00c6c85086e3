// SPDX-License-Identifier: Apache-2.0
// The activations that a product carries out on its result.
#pragma once

#include "kernels/linalg/bias_activation.h"
#include "kernels/scalar/functors.h"

#if defined(OSTRIA_KERNEL_CODE)

namespace ostria::kernels {

/// `activation` is the same in all threads.
template <class C>
OSTRIA_DEVICE C Activate(int32_t activation, C x) {
  switch (activation) {
    case kActRelu: return Functor<ScalarOp::kRelu>::Call(x);
    case kActTanh: return Functor<ScalarOp::kTanh>::Call(x);
    case kActSigmoid: return Functor<ScalarOp::kSigmoid>::Call(x);
    case kActGelu: return Functor<ScalarOp::kGelu>::Call(x);
    case kActGeluTanh: return Functor<ScalarOp::kGeluTanh>::Call(x);
    case kActSilu: return Functor<ScalarOp::kSilu>::Call(x);
    default: return x;
  }
}

}  // namespace ostria::kernels

#endif
