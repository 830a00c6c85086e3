// SPDX-License-Identifier: Apache-2.0
// arg_rows: the axis is the last one, and threads share a row; arg_columns: a thread per output.
// Elements become integers that are ordered alike, so one code serves every type.
#include "kernels/reduce/arg.h"

namespace ostria::kernels {
namespace {

constexpr int kThreads = 256;

// Sign and magnitude of a float of `width` bits; both zeros are 0, NaN is above all.
OSTRIA_DEVICE int64_t FloatKey(uint64_t bits, int width, uint64_t infinity, bool smallest) {
  const uint64_t sign = uint64_t{1} << (width - 1), magnitude = bits & (sign - 1);
  if (magnitude > infinity) return INT64_MAX;
  const auto key = static_cast<int64_t>(magnitude);
  return ((bits & sign) != 0) != smallest ? -key : key;
}

OSTRIA_DEVICE uint64_t Bits(const ArgParams& p, int64_t at) {
  switch (p.bytes) {
    case 1: return static_cast<const uint8_t*>(p.src)[at];
    case 2: return static_cast<const uint16_t*>(p.src)[at];
    case 4: return static_cast<const uint32_t*>(p.src)[at];
    default: return static_cast<const uint64_t*>(p.src)[at];
  }
}

// Larger is better.
OSTRIA_DEVICE int64_t Key(const ArgParams& p, int64_t at) {
  const uint64_t bits = Bits(p, at);
  const bool smallest = p.smallest != 0;
  switch (p.order) {
    case ArgOrder::kFloat16: return FloatKey(bits, 16, 0x7c00, smallest);
    case ArgOrder::kBFloat16: return FloatKey(bits, 16, 0x7f80, smallest);
    case ArgOrder::kFloat32: return FloatKey(bits, 32, 0x7f800000, smallest);
    case ArgOrder::kFloat64: return FloatKey(bits, 64, 0x7ff0000000000000, smallest);
    default: break;
  }
  const int left = 64 - 8 * p.bytes;
  const int64_t key = p.order == ArgOrder::kSigned ? static_cast<int64_t>(bits << left) >> left
                                                   : static_cast<int64_t>(bits ^ (1ull << 63));
  return smallest ? ~key : key;
}

struct Best {
  int64_t key, at;
};
OSTRIA_DEVICE Best Better(const Best& a, const Best& b) {
  return b.key > a.key || (b.key == a.key && b.at < a.at) ? b : a;
}
OSTRIA_DEVICE Best OfWarp(Best best) {
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const auto key = static_cast<long long>(best.key), at = static_cast<long long>(best.at);
    best = Better(
        best, {__shfl_xor_sync(0xffffffffu, key, lanes), __shfl_xor_sync(0xffffffffu, at, lanes)});
  }
  return best;
}

}  // namespace

OSTRIA_KERNEL(arg_rows, ArgParams, kThreads) {
  OSTRIA_SHARED(Best, parts, kThreads / 32);
  const int lanes = p.lanes, lane = static_cast<int>(threadIdx.x) % lanes;
  const int64_t per_block = kThreads / lanes;
  for (int64_t base = int64_t{blockIdx.x} * per_block; base < p.outer;
       base += int64_t{gridDim.x} * per_block) {
    const int64_t row = base + threadIdx.x / lanes;
    Best best{INT64_MIN, INT64_MAX};
    for (int64_t i = lane; row < p.outer && i < p.n; i += lanes) {
      best = Better(best, {Key(p, row * p.n + i), i});
    }
    best = OfWarp(best);
    if (lanes > 32) {
      if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = best;
      __syncthreads();
      for (int w = 0; w < kThreads / 32; ++w) best = Better(best, parts[w]);
      __syncthreads();
    }
    if (lane == 0 && row < p.outer) p.dst[row] = best.at;
  }
}

OSTRIA_KERNEL(arg_columns, ArgParams, kThreads) {
  const int64_t outputs = p.outer * p.inner;
  for (int64_t at = int64_t{blockIdx.x} * kThreads + threadIdx.x; at < outputs;
       at += int64_t{gridDim.x} * kThreads) {
    const int64_t first = at / p.inner * p.n * p.inner + at % p.inner;
    Best best{INT64_MIN, INT64_MAX};
    for (int64_t i = 0; i < p.n; ++i) best = Better(best, {Key(p, first + i * p.inner), i});
    p.dst[at] = best.at;
  }
}

}  // namespace ostria::kernels
