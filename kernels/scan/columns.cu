// SPDX-License-Identifier: Apache-2.0
// A thread walks a column; neighbouring threads walk neighbouring columns, so that every step reads
// a line. Elements are loaded some steps ahead.
#include "kernels/scan/accumulate.h"

namespace ostria::kernels {
namespace {

template <class T, ScanOp kOp>
OSTRIA_DEVICE void ScanColumns(const ScanParams& p) {
  constexpr int kBatch = 8;
  using Acc = Accumulator<T>;
  const T* const a = static_cast<const T*>(p.a);
  const T* const b = static_cast<const T*>(p.b);
  T* const dst = static_cast<T*>(p.dst);
  const int64_t threads = int64_t{gridDim.x} * blockDim.x, columns = p.outer * p.inner;
  const int64_t stride = p.reverse != 0 ? -p.inner : p.inner;
  for (int64_t column = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; column < columns;
       column += threads) {
    int64_t at = column / p.inner * p.size * p.inner + column % p.inner;
    if (p.reverse != 0) at += (p.size - 1) * p.inner;
    Acc acc = ScanStart<kOp, Acc>();
    for (int64_t i = 0; i < p.size; i += kBatch, at += kBatch * stride) {
      Acc x[kBatch], y[kBatch];
      for (int j = 0; j < kBatch; ++j) {
        const bool inside = i + j < p.size;
        x[j] = inside ? ToAccumulator(a[at + j * stride]) : Acc(0);
        y[j] = kOp == ScanOp::kLinear && inside ? ToAccumulator(b[at + j * stride]) : Acc(0);
      }
      for (int j = 0; j < kBatch; ++j) {
        const Acc next = ScanStep<kOp>(acc, x[j], y[j], i + j == 0);
        if (i + j < p.size) {
          dst[at + j * stride] = FromAccumulator<T>(p.exclusive != 0 ? acc : next);
        }
        acc = next;
      }
    }
  }
}

}  // namespace

#define OSTRIA_SCAN_COLUMNS(suffix, T)                                        \
  OSTRIA_KERNEL(scan_columns_sum_##suffix, ScanParams, kScanColumnThreads) {  \
    ScanColumns<T, ScanOp::kSum>(p);                                          \
  }                                                                           \
  OSTRIA_KERNEL(scan_columns_prod_##suffix, ScanParams, kScanColumnThreads) { \
    ScanColumns<T, ScanOp::kProduct>(p);                                      \
  }
#define OSTRIA_LINEAR_COLUMNS(suffix, T)                                        \
  OSTRIA_KERNEL(scan_columns_linear_##suffix, ScanParams, kScanColumnThreads) { \
    ScanColumns<T, ScanOp::kLinear>(p);                                         \
  }

OSTRIA_SCAN_COLUMNS(f16, Float16)
OSTRIA_SCAN_COLUMNS(bf16, BFloat16)
OSTRIA_SCAN_COLUMNS(f32, float)
OSTRIA_SCAN_COLUMNS(f64, double)
OSTRIA_SCAN_COLUMNS(u64, uint64_t)
OSTRIA_LINEAR_COLUMNS(f16, Float16)
OSTRIA_LINEAR_COLUMNS(bf16, BFloat16)
OSTRIA_LINEAR_COLUMNS(f32, float)
OSTRIA_LINEAR_COLUMNS(f64, double)

}  // namespace ostria::kernels
