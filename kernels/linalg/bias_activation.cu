// SPDX-License-Identifier: Apache-2.0
// One pass over the matrix as a flat range of vectors; a vector may cross the end of a row. The
// bias is read element by element, from the cache: it is as long as one row.
#include "kernels/linalg/bias_activation.h"

#include "kernels/common/vec.h"
#include "kernels/linalg/activation.h"

namespace ostria::kernels {
namespace {

OSTRIA_DEVICE int64_t ColumnOf(int64_t i, int64_t cols, bool is_short) {
  if (is_short) return static_cast<unsigned>(i) % static_cast<unsigned>(cols);
  return i % cols;
}

template <class T, class B>
OSTRIA_DEVICE void Run(const BiasActivationParams& p) {
  T* const y = static_cast<T*>(p.y);
  const B* const bias = static_cast<const B*>(p.bias);
  const int64_t n = p.rows * p.cols;
  const bool is_short = n < (int64_t{1} << 31);
  const int64_t thread = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int64_t threads = int64_t{gridDim.x} * blockDim.x;
  ForVectors<T>(SplitVectors(n, y), thread, threads, [&](int64_t at, auto count) {
    constexpr int kCount = decltype(count)::value;
    Compute<T> x[kCount];
    LoadVector(y + at, x);
    int64_t col = bias == nullptr ? 0 : ColumnOf(at, p.cols, is_short);
    for (int i = 0; i < kCount; ++i) {
      if (bias != nullptr) {
        x[i] += static_cast<Compute<T>>(Load(bias + col));
        col = col + 1 == p.cols ? 0 : col + 1;
      }
      x[i] = Activate(p.activation, x[i]);
    }
    StoreVector(y + at, x);
  });
}

}  // namespace

// bias_activation_<y>, or _<y>_<bias> where products of 16-bit numbers are kept in float32.
OSTRIA_KERNEL(bias_activation_float32, BiasActivationParams, 256) { Run<float, float>(p); }
OSTRIA_KERNEL(bias_activation_float64, BiasActivationParams, 256) { Run<double, double>(p); }
OSTRIA_KERNEL(bias_activation_float16, BiasActivationParams, 256) { Run<Float16, Float16>(p); }
OSTRIA_KERNEL(bias_activation_bfloat16, BiasActivationParams, 256) { Run<BFloat16, BFloat16>(p); }
OSTRIA_KERNEL(bias_activation_float32_float16, BiasActivationParams, 256) {
  Run<float, Float16>(p);
}
OSTRIA_KERNEL(bias_activation_float32_bfloat16, BiasActivationParams, 256) {
  Run<float, BFloat16>(p);
}

}  // namespace ostria::kernels
