// SPDX-License-Identifier: Apache-2.0
// A thread takes a byte of the mask and the eight elements that it stands for. relu_mask reads y
// and writes the mask, whose bits behind the last column are 0; apply_relu_mask makes elements 0
// that the mask does not name.
#include "kernels/linalg/relu_mask.h"

#include "kernels/common/vec.h"

namespace ostria::kernels {
namespace {

constexpr int kBits = 8;

template <class T>
OSTRIA_DEVICE bool IsWhole(const T* at, int64_t count) {
  return count == kBits && SkewOf(at) == 0;
}

template <class T>
OSTRIA_DEVICE void LoadBits(const T* at, int64_t count, Compute<T> (&x)[kBits]) {
  if (IsWhole(at, count)) {
    for (int v = 0; v < kBits; v += kVector<T>) {
      Compute<T> part[kVector<T>];
      LoadVector(at + v, part);
      for (int i = 0; i < kVector<T>; ++i) x[v + i] = part[i];
    }
    return;
  }
  for (int i = 0; i < kBits; ++i) x[i] = i < count ? Load(at + i) : Compute<T>(0);
}

template <class T>
OSTRIA_DEVICE void StoreBits(T* at, int64_t count, const Compute<T> (&x)[kBits]) {
  if (IsWhole(at, count)) {
    for (int v = 0; v < kBits; v += kVector<T>) {
      Compute<T> part[kVector<T>];
      for (int i = 0; i < kVector<T>; ++i) part[i] = x[v + i];
      StoreVector(at + v, part);
    }
    return;
  }
  for (int i = 0; i < kBits; ++i) {
    if (i < count) Store(at + i, x[i]);
  }
}

// fn(byte of the mask, its first element, how many there are)
template <class Fn>
OSTRIA_DEVICE void ForBytes(const ReluMaskParams& p, Fn fn) {
  const int64_t n = p.rows * p.row_bytes;
  const bool is_short = n < (int64_t{1} << 31);
  const int64_t threads = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += threads) {
    const int64_t row =
        is_short ? static_cast<unsigned>(i) / static_cast<unsigned>(p.row_bytes) : i / p.row_bytes;
    const int64_t col = (i - row * p.row_bytes) * kBits;
    const int64_t left = p.cols - col;
    fn(i, row * p.cols + col, left < 0 ? int64_t{0} : left < kBits ? left : int64_t{kBits});
  }
}

template <class T>
OSTRIA_DEVICE void Pack(const ReluMaskParams& p) {
  const T* const y = static_cast<const T*>(p.y);
  uint8_t* const mask = static_cast<uint8_t*>(p.mask);
  ForBytes(p, [&](int64_t byte, int64_t at, int64_t count) {
    Compute<T> x[kBits];
    LoadBits(y + at, count, x);
    unsigned bits = 0;
    for (int i = 0; i < kBits; ++i) bits |= x[i] > 0 ? 1u << i : 0u;
    mask[byte] = static_cast<uint8_t>(bits);
  });
}

template <class T>
OSTRIA_DEVICE void Apply(const ReluMaskParams& p) {
  T* const y = static_cast<T*>(p.y);
  const uint8_t* const mask = static_cast<const uint8_t*>(p.mask);
  ForBytes(p, [&](int64_t byte, int64_t at, int64_t count) {
    if (count == 0) return;
    const unsigned bits = mask[byte];
    Compute<T> x[kBits];
    LoadBits(y + at, count, x);
    for (int i = 0; i < kBits; ++i) x[i] = (bits >> i & 1) != 0 ? x[i] : Compute<T>(0);
    StoreBits(y + at, count, x);
  });
}

}  // namespace

OSTRIA_KERNEL(relu_mask_float32, ReluMaskParams, 256) { Pack<float>(p); }
OSTRIA_KERNEL(relu_mask_float16, ReluMaskParams, 256) { Pack<Float16>(p); }
OSTRIA_KERNEL(relu_mask_bfloat16, ReluMaskParams, 256) { Pack<BFloat16>(p); }
OSTRIA_KERNEL(apply_relu_mask_float32, ReluMaskParams, 256) { Apply<float>(p); }
OSTRIA_KERNEL(apply_relu_mask_float16, ReluMaskParams, 256) { Apply<Float16>(p); }
OSTRIA_KERNEL(apply_relu_mask_bfloat16, ReluMaskParams, 256) { Apply<BFloat16>(p); }

}  // namespace ostria::kernels
