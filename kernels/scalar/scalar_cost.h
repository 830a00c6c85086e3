// SPDX-License-Identifier: Apache-2.0
// What an element function costs, for those who weigh it against memory or against a thread.
#pragma once

#include "kernels/scalar/scalar_op.h"

namespace ostria::kernels {

/// Whether an element takes tens of instructions rather than one or a few.
constexpr bool IsCostly(ScalarOp op) {
  using enum ScalarOp;
  switch (op) {
    case kPow:
    case kMod:
    case kFloorDivide:
    case kAtan2:
    case kHypot:
    case kLogAddExp:
    case kNextAfter:
    case kGeluGrad:
    case kGeluTanhGrad:
    case kExp:
    case kLog:
    case kTanh:
    case kSigmoid:
    case kErf:
    case kGelu:
    case kGeluTanh:
    case kElu:
    case kSelu:
    case kSilu:
    case kSoftplus:
    case kLog1p:
    case kLog2:
    case kLog10:
    case kExpm1:
    case kSin:
    case kCos:
    case kTan:
    case kAsin:
    case kAcos:
    case kAtan:
    case kSinh:
    case kCosh:
    case kAsinh:
    case kAcosh:
    case kAtanh: return true;
    default: return false;
  }
}

}  // namespace ostria::kernels
