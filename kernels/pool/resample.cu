// SPDX-License-Identifier: Apache-2.0
// Interpolation along one axis: every row of the result is a weighted sum of a few neighbouring
// rows. A thread makes a vector of a row.
#include "kernels/common/vec.h"
#include "kernels/pool/pool.h"

namespace ostria::kernels {
namespace {

template <class T, int kCount>
OSTRIA_DEVICE void Resample(const ResampleParams& p, int64_t element) {
  using C = Compute<T>;
  const auto groups = static_cast<uint32_t>(p.inner / kCount), to = static_cast<uint32_t>(p.to);
  const auto row = static_cast<uint32_t>(element) / groups;
  const uint32_t group = static_cast<uint32_t>(element) % groups, i = row % to;
  const T* const src = static_cast<const T*>(p.src) + int64_t{group} * kCount +
                       (int64_t{row / to} * p.from + p.first[i]) * p.inner;
  const C* const weights = static_cast<const C*>(p.weights) + i * p.width;
  C sum[kCount] = {};
  OSTRIA_NO_UNROLL
  for (int t = 0; t < p.count[i]; ++t) {
    C x[kCount];
    LoadVector(src + t * p.inner, x);
    for (int k = 0; k < kCount; ++k) sum[k] += weights[t] * x[k];
  }
  StoreVector(static_cast<T*>(p.dst) + element * kCount, sum);
}

template <class T>
OSTRIA_DEVICE void ForElements(const ResampleParams& p) {
  constexpr int kMany = kVector<T>;
  const int64_t first = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int64_t threads = int64_t{gridDim.x} * blockDim.x;
  const int64_t elements = p.outer * p.to * p.inner;
  if (p.inner % kMany == 0 && SkewOf(p.src) == 0 && SkewOf(p.dst) == 0) {
    for (int64_t i = first; i < elements / kMany; i += threads) Resample<T, kMany>(p, i);
  } else {
    for (int64_t i = first; i < elements; i += threads) Resample<T, 1>(p, i);
  }
}

}  // namespace

OSTRIA_KERNEL(resample_f32, ResampleParams, 256) { ForElements<float>(p); }
OSTRIA_KERNEL(resample_f64, ResampleParams, 256) { ForElements<double>(p); }
OSTRIA_KERNEL(resample_f16, ResampleParams, 256) { ForElements<Float16>(p); }
OSTRIA_KERNEL(resample_bf16, ResampleParams, 256) { ForElements<BFloat16>(p); }

}  // namespace ostria::kernels
