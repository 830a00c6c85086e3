// SPDX-License-Identifier: Apache-2.0
// Sums along long axes of few columns, and products of integers, whose grouping does not matter. A
// block takes a chunk, a thread kScanChunkItems steps that follow each other. Products of floats
// are not grouped: a group may overflow where the whole does not.
#include "kernels/scan/accumulate.h"

namespace ostria::kernels {
namespace {

template <ScanOp kOp, class Acc>
OSTRIA_DEVICE Acc Join(Acc before, Acc after) {
  return ScanStep<kOp>(before, after, Acc(0), false);
}

// What lies in the steps of lower threads, and of the whole block.
template <ScanOp kOp, class Acc>
OSTRIA_DEVICE Acc BlockBefore(Acc own, Acc* all) {
  constexpr int kWarps = kScanChunkThreads / 32;
  OSTRIA_SHARED(Acc, totals, kWarps);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  Acc through = own;
  for (int lanes = 1; lanes < 32; lanes *= 2) {
    const Acc before = __shfl_up_sync(~0u, through, static_cast<unsigned>(lanes));
    if (lane >= lanes) through = Join<kOp>(before, through);
  }
  if (lane == 31) totals[warp] = through;
  const Acc lower = __shfl_up_sync(~0u, through, 1u);
  __syncthreads();
  Acc before = ScanStart<kOp, Acc>();
  *all = before;
  for (int w = 0; w < kWarps; ++w) {
    if (w == warp) before = *all;
    *all = Join<kOp>(*all, totals[w]);
  }
  __syncthreads();
  return lane == 0 ? before : Join<kOp>(before, lower);
}

// The steps of this thread in a chunk: where the first lies, and how many there are.
struct Steps {
  int64_t at = 0, stride = 0;
  int count = 0;
};
OSTRIA_DEVICE Steps StepsOf(const ScanChunksParams& p, int64_t task) {
  const int64_t column = task / p.chunks, chunk = task % p.chunks;
  const int64_t first = chunk * kScanChunk + int64_t{threadIdx.x} * kScanChunkItems;
  const int64_t base = column / p.inner * p.size * p.inner + column % p.inner;
  const int64_t left = p.size - first;
  Steps s;
  s.count = left <= 0 ? 0 : static_cast<int>(min(left, int64_t{kScanChunkItems}));
  s.stride = p.reverse != 0 ? -p.inner : p.inner;
  s.at = base + (p.reverse != 0 ? p.size - 1 - first : first) * p.inner;
  return s;
}

template <class T, ScanOp kOp>
OSTRIA_DEVICE Accumulator<T> LoadSteps(const ScanChunksParams& p, const Steps& s,
                                       Accumulator<T> (&x)[kScanChunkItems]) {
  using Acc = Accumulator<T>;
  const T* const src = static_cast<const T*>(p.src);
  for (int i = 0; i < kScanChunkItems; ++i) {
    x[i] = i < s.count ? ToAccumulator(src[s.at + i * s.stride]) : ScanStart<kOp, Acc>();
  }
  Acc all = x[0];
  for (int i = 1; i < kScanChunkItems; ++i) all = Join<kOp>(all, x[i]);
  return all;
}

template <class T, ScanOp kOp>
OSTRIA_DEVICE void ChunkSums(const ScanChunksParams& p) {
  using Acc = Accumulator<T>;
  Acc* const carries = static_cast<Acc*>(p.carries);
  for (int64_t task = blockIdx.x; task < p.outer * p.inner * p.chunks; task += gridDim.x) {
    Acc x[kScanChunkItems], all;
    const Acc own = LoadSteps<T, kOp>(p, StepsOf(p, task), x);
    BlockBefore<kOp>(own, &all);
    if (threadIdx.x == 0) carries[task] = all;
  }
}

template <class T, ScanOp kOp>
OSTRIA_DEVICE void Carries(const ScanChunksParams& p) {
  constexpr int kBatch = 8;
  using Acc = Accumulator<T>;
  const int64_t threads = int64_t{gridDim.x} * blockDim.x;
  for (int64_t column = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; column < p.outer * p.inner;
       column += threads) {
    Acc* const carries = static_cast<Acc*>(p.carries) + column * p.chunks;
    Acc acc = ScanStart<kOp, Acc>();
    for (int64_t i = 0; i < p.chunks; i += kBatch) {
      Acc x[kBatch];
      for (int j = 0; j < kBatch; ++j) {
        x[j] = i + j < p.chunks ? carries[i + j] : ScanStart<kOp, Acc>();
      }
      for (int j = 0; j < kBatch; ++j) {
        if (i + j < p.chunks) carries[i + j] = acc;
        acc = Join<kOp>(acc, x[j]);
      }
    }
  }
}

template <class T, ScanOp kOp>
OSTRIA_DEVICE void Chunks(const ScanChunksParams& p) {
  using Acc = Accumulator<T>;
  T* const dst = static_cast<T*>(p.dst);
  for (int64_t task = blockIdx.x; task < p.outer * p.inner * p.chunks; task += gridDim.x) {
    const Steps s = StepsOf(p, task);
    Acc x[kScanChunkItems], all;
    const Acc own = LoadSteps<T, kOp>(p, s, x);
    Acc acc = Join<kOp>(static_cast<const Acc*>(p.carries)[task], BlockBefore<kOp>(own, &all));
    for (int i = 0; i < kScanChunkItems; ++i) {
      const Acc next = Join<kOp>(acc, x[i]);
      if (i < s.count) dst[s.at + i * s.stride] = FromAccumulator<T>(p.exclusive != 0 ? acc : next);
      acc = next;
    }
  }
}

}  // namespace

#define OSTRIA_SCAN_CHUNKS(suffix, T, op)                                                          \
  OSTRIA_KERNEL(scan_chunk_sums_##suffix, ScanChunksParams, kScanChunkThreads) {                   \
    ChunkSums<T, op>(p);                                                                           \
  }                                                                                                \
  OSTRIA_KERNEL(scan_carries_##suffix, ScanChunksParams, kScanChunkThreads) { Carries<T, op>(p); } \
  OSTRIA_KERNEL(scan_chunks_##suffix, ScanChunksParams, kScanChunkThreads) { Chunks<T, op>(p); }

OSTRIA_SCAN_CHUNKS(sum_f16, Float16, ScanOp::kSum)
OSTRIA_SCAN_CHUNKS(sum_bf16, BFloat16, ScanOp::kSum)
OSTRIA_SCAN_CHUNKS(sum_f32, float, ScanOp::kSum)
OSTRIA_SCAN_CHUNKS(sum_f64, double, ScanOp::kSum)
OSTRIA_SCAN_CHUNKS(sum_u64, uint64_t, ScanOp::kSum)
OSTRIA_SCAN_CHUNKS(prod_u64, uint64_t, ScanOp::kProduct)

}  // namespace ostria::kernels
