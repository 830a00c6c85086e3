// SPDX-License-Identifier: Apache-2.0
#include "kernels/optim/lists.h"

#include "kernels/common/block_reduce.h"
#include "kernels/common/vec.h"

namespace ostria::kernels {
namespace {

/// Calls fn(x, elements) for each tile of this block, then stores what it returns as its part.
template <class T, class Part, class Fn>
OSTRIA_DEVICE void ForParts(const ListParams& p, Fn fn) {
  int at = 0;
  for (int64_t tile = blockIdx.x; tile < p.tiles; tile += gridDim.x) {
    while (at + 1 < p.count && p.segments[at + 1].first_tile <= tile) ++at;
    const ListSegment& s = p.segments[at];
    const int64_t begin = (tile - s.first_tile) * kListTile;
    const Part part = fn(static_cast<const T*>(s.x) + begin, min(kListTile, s.n - begin));
    if (threadIdx.x == 0) static_cast<Part*>(p.parts)[tile] = part;
  }
}

template <class T>
OSTRIA_DEVICE void FiniteParts(const ListParams& p) {
  ForParts<T, int32_t>(p, [](const T* x, int64_t n) {
    bool finite = true;
    ForVectors<T>(SplitVectors(n, x), threadIdx.x, blockDim.x,
                  [&]<int kCount>(int64_t i, Count<kCount>) {
                    Compute<T> v[kCount];
                    LoadVector(x + i, v);
                    for (const Compute<T> e : v) finite &= e - e == 0;
                  });
    return BlockReduce(finite ? 1 : 0, 1, [](int a, int b) { return a & b; });
  });
}

template <class T>
OSTRIA_DEVICE void NormParts(const ListParams& p) {
  ForParts<T, double>(p, [](const T* x, int64_t n) {
    Compute<T> sum = 0;
    ForVectors<T>(SplitVectors(n, x), threadIdx.x, blockDim.x,
                  [&]<int kCount>(int64_t i, Count<kCount>) {
                    Compute<T> v[kCount];
                    LoadVector(x + i, v);
                    for (const Compute<T> e : v) sum += e * e;
                  });
    return static_cast<double>(BlockSum(sum));
  });
}

}  // namespace

OSTRIA_KERNEL(finite_parts_f16, ListParams, kListThreads) { FiniteParts<Float16>(p); }
OSTRIA_KERNEL(finite_parts_bf16, ListParams, kListThreads) { FiniteParts<BFloat16>(p); }
OSTRIA_KERNEL(finite_parts_f32, ListParams, kListThreads) { FiniteParts<float>(p); }
OSTRIA_KERNEL(finite_parts_f64, ListParams, kListThreads) { FiniteParts<double>(p); }

OSTRIA_KERNEL(norm_parts_f16, ListParams, kListThreads) { NormParts<Float16>(p); }
OSTRIA_KERNEL(norm_parts_bf16, ListParams, kListThreads) { NormParts<BFloat16>(p); }
OSTRIA_KERNEL(norm_parts_f32, ListParams, kListThreads) { NormParts<float>(p); }
OSTRIA_KERNEL(norm_parts_f64, ListParams, kListThreads) { NormParts<double>(p); }

OSTRIA_KERNEL(finite_fold, ListFoldParams, kListThreads) {
  int finite = 1;
  for (int64_t i = threadIdx.x; i < p.count; i += blockDim.x) {
    finite &= static_cast<const int32_t*>(p.parts)[i];
  }
  finite = BlockReduce(finite, 1, [](int a, int b) { return a & b; });
  if (threadIdx.x == 0) *static_cast<bool*>(p.out) = finite != 0;
}

OSTRIA_KERNEL(norm_fold_f64, ListFoldParams, kListThreads) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < p.count; i += blockDim.x) {
    sum += static_cast<const double*>(p.parts)[i];
  }
  sum = BlockSum(sum);
  if (threadIdx.x == 0) *static_cast<float*>(p.out) = static_cast<float>(__builtin_sqrt(sum));
}

}  // namespace ostria::kernels
