// SPDX-License-Identifier: Apache-2.0
// What scans accumulate in, and one step of each.
#pragma once

#include "kernels/common/dtype.h"
#include "kernels/scan/scan.h"

#if defined(OSTRIA_KERNEL_CODE)

namespace ostria::kernels {

template <class T>
struct AccumulatorOf {
  using type = double;
};
template <>
struct AccumulatorOf<Float16> {
  using type = float;
};
template <>
struct AccumulatorOf<BFloat16> {
  using type = float;
};
template <>
struct AccumulatorOf<uint64_t> {
  using type = uint64_t;
};
template <class T>
using Accumulator = typename AccumulatorOf<T>::type;

template <class T>
OSTRIA_DEVICE Accumulator<T> ToAccumulator(T x) {
  return static_cast<Accumulator<T>>(Widen(x));
}
template <>
OSTRIA_DEVICE uint64_t ToAccumulator<uint64_t>(uint64_t x) {
  return x;
}
template <class T>
OSTRIA_DEVICE T FromAccumulator(Accumulator<T> x) {
  return Narrow<T>(static_cast<Compute<T>>(x));
}
template <>
OSTRIA_DEVICE uint64_t FromAccumulator<uint64_t>(uint64_t x) {
  return x;
}

// Rounded after the product, as everywhere else.
OSTRIA_DEVICE float MultiplyThenAdd(float a, float x, float b) {
  return __fadd_rn(__fmul_rn(a, x), b);
}
OSTRIA_DEVICE double MultiplyThenAdd(double a, double x, double b) {
  return __dadd_rn(__dmul_rn(a, x), b);
}

template <ScanOp kOp, class Acc>
OSTRIA_DEVICE Acc ScanStart() {
  return kOp == ScanOp::kProduct ? Acc(1) : Acc(0);
}

/// What comes after `acc`. Nothing comes before the first element: not even 0, which an infinite
/// factor makes NaN.
template <ScanOp kOp, class Acc>
OSTRIA_DEVICE Acc ScanStep(Acc acc, Acc a, Acc b, bool first) {
  if constexpr (kOp == ScanOp::kSum) {
    return acc + a;
  } else if constexpr (kOp == ScanOp::kProduct) {
    return acc * a;
  } else {
    return first ? b : MultiplyThenAdd(a, acc, b);
  }
}

}  // namespace ostria::kernels

#endif
