// SPDX-License-Identifier: Apache-2.0
// The axis is the innermost one. A warp takes 32 lines, 32 steps at a time: lanes read lines of
// memory, exchange them through shared memory and walk one line each. The next steps of the first
// operand are loaded while these are walked.
#include "kernels/scan/accumulate.h"

namespace ostria::kernels {
namespace {

constexpr int kSide = 32, kPitch = kSide + 1;

// 32 steps of 32 lines, one step per lane.
template <class T>
struct Tile {
  T x[kSide];
};

template <class T>
OSTRIA_DEVICE void Load(const ScanParams& p, const void* from, int64_t line, int64_t step,
                        Tile<T>* tile) {
  const int64_t at = p.reverse != 0 ? p.size - 1 - step : step;
  const T* src = static_cast<const T*>(from) + line * p.size + at;
  for (int i = 0; i < kSide; ++i) {
    if (line + i < p.outer && step < p.size) tile->x[i] = src[i * p.size];
  }
}

template <class T, ScanOp kOp>
OSTRIA_DEVICE void ScanLines(const ScanParams& p) {
  using Acc = Accumulator<T>;
  constexpr bool kTwo = kOp == ScanOp::kLinear;
  constexpr int kWarps = kScanLineThreads / 32, kShared = kWarps * kSide * kPitch;
  OSTRIA_SHARED(T, all_a, kShared);
  OSTRIA_SHARED(T, all_b, kTwo ? kShared : 1);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  T* const a = all_a + warp * kSide * kPitch;
  T* const b = all_b + (kTwo ? warp * kSide * kPitch : 0);
  T* const dst = static_cast<T*>(p.dst);
  const int64_t warps = int64_t{gridDim.x} * kWarps;
  for (int64_t line = (int64_t{blockIdx.x} * kWarps + warp) * kSide; line < p.outer;
       line += warps * kSide) {
    Acc acc = ScanStart<kOp, Acc>();
    Tile<T> ahead = {};
    Load(p, p.a, line, lane, &ahead);
    for (int64_t begin = 0; begin < p.size; begin += kSide) {
      for (int i = 0; i < kSide; ++i) a[i * kPitch + lane] = ahead.x[i];
      if constexpr (kTwo) {
        Tile<T> own = {};
        Load(p, p.b, line, begin + lane, &own);
        for (int i = 0; i < kSide; ++i) b[i * kPitch + lane] = own.x[i];
      }
      __syncwarp();
      Load(p, p.a, line, begin + kSide + lane, &ahead);
      for (int i = 0; i < kSide; ++i) {  // what lies behind the end is walked for nobody
        T* const at = a + lane * kPitch + i;
        const Acc own = kTwo ? ToAccumulator(b[lane * kPitch + i]) : Acc(0);
        const Acc next = ScanStep<kOp>(acc, ToAccumulator(*at), own, begin + i == 0);
        *at = FromAccumulator<T>(p.exclusive != 0 ? acc : next);
        acc = next;
      }
      __syncwarp();
      const int64_t step = begin + lane, to = p.reverse != 0 ? p.size - 1 - step : step;
      for (int i = 0; i < kSide; ++i) {
        if (line + i < p.outer && step < p.size) {
          dst[(line + i) * p.size + to] = a[i * kPitch + lane];
        }
      }
      __syncwarp();
    }
  }
}

}  // namespace

#define OSTRIA_SCAN_LINES(suffix, T)                                      \
  OSTRIA_KERNEL(scan_lines_sum_##suffix, ScanParams, kScanLineThreads) {  \
    ScanLines<T, ScanOp::kSum>(p);                                        \
  }                                                                       \
  OSTRIA_KERNEL(scan_lines_prod_##suffix, ScanParams, kScanLineThreads) { \
    ScanLines<T, ScanOp::kProduct>(p);                                    \
  }
#define OSTRIA_LINEAR_LINES(suffix, T)                                      \
  OSTRIA_KERNEL(scan_lines_linear_##suffix, ScanParams, kScanLineThreads) { \
    ScanLines<T, ScanOp::kLinear>(p);                                       \
  }

OSTRIA_SCAN_LINES(f16, Float16)
OSTRIA_SCAN_LINES(bf16, BFloat16)
OSTRIA_SCAN_LINES(f32, float)
OSTRIA_SCAN_LINES(f64, double)
OSTRIA_SCAN_LINES(u64, uint64_t)
OSTRIA_LINEAR_LINES(f16, Float16)
OSTRIA_LINEAR_LINES(bf16, BFloat16)
OSTRIA_LINEAR_LINES(f32, float)
OSTRIA_LINEAR_LINES(f64, double)

}  // namespace ostria::kernels
