// SPDX-License-Identifier: Apache-2.0
// What comes before the runs are walked.
#include "kernels/common/vec.h"
#include "kernels/data/runs.h"

namespace ostria::kernels {

OSTRIA_KERNEL(scatter_keys, KeysParams, 256) {
  const int64_t threads = int64_t{gridDim.x} * blockDim.x;
  for (int64_t e = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; e < p.elements; e += threads) {
    const int64_t line = e / p.inner;
    const int64_t place = IndexAt(p.indices, e, p.law, p.data_error, static_cast<int32_t>(p.step));
    p.keys[e] = static_cast<uint32_t>((line / p.count * p.law.size + place) * p.inner +
                                      (e - line * p.inner));
  }
}

OSTRIA_KERNEL(scatter_copy, ScatterCopyParams, 256) {
  if (p.x == p.dst) return;
  const auto* x = static_cast<const uint8_t*>(p.x);
  auto* y = static_cast<uint8_t*>(p.dst);
  ForVectors<uint8_t>(SplitVectors(p.bytes, x, y), int64_t{blockIdx.x} * blockDim.x + threadIdx.x,
                      int64_t{gridDim.x} * blockDim.x, [&]<int kCount>(int64_t i, Count<kCount>) {
                        if constexpr (kCount == 1) {
                          y[i] = x[i];
                        } else {
                          *reinterpret_cast<uint4*>(y + i) = *reinterpret_cast<const uint4*>(x + i);
                        }
                      });
}

}  // namespace ostria::kernels
