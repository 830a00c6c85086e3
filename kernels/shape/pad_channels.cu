// SPDX-License-Identifier: Apache-2.0
// A thread makes a vector of the result, or one element where rows are no vectors, and reads what
// belongs to it: in vectors where a long row, as of a weight, has them, else element by element, as
// of images with few channels; neighbours read neighbouring memory.
#include "kernels/shape/pad_channels.h"

#include "kernels/common/vec.h"

namespace ostria::kernels {
namespace {

/// kCount elements from a 16-byte boundary on.
template <class S, int kCount, class C>
OSTRIA_DEVICE void LoadWhole(const S* at, C (&v)[kCount]) {
  constexpr int kOne = kCount < kVector<S> ? kCount : kVector<S>;
  for (int first = 0; first < kCount; first += kOne) {
    C part[kOne];
    LoadVector(at + first, part);
    for (int k = 0; k < kOne; ++k) v[first + k] = part[k];
  }
}

template <class S, class T, int kCount>
OSTRIA_DEVICE void PadAs(const PadChannelsParams& p) {
  const S* const src = static_cast<const S*>(p.src);
  T* const dst = static_cast<T*>(p.dst);
  const int64_t per_row = p.to / kCount;
  const int64_t threads = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < p.rows * per_row;
       i += threads) {
    const int64_t row = i / per_row, column = (i - row * per_row) * kCount;
    const S* const at = src + row * p.from + column;
    Compute<T> v[kCount] = {};
    if (column + kCount <= p.from && SkewOf(at) == 0) {
      LoadWhole(at, v);
    } else {
      for (int k = 0; k < kCount; ++k) {
        if (column + k < p.from) v[k] = Load(at + k);
      }
    }
    StoreVector(dst + row * p.to + column, v);
  }
}

template <class S, class T>
OSTRIA_DEVICE void Pad(const PadChannelsParams& p) {
  if (p.to % kVector<T> == 0 && SkewOf(p.dst) == 0) {
    PadAs<S, T, kVector<T>>(p);
  } else {
    PadAs<S, T, 1>(p);
  }
}

}  // namespace

OSTRIA_KERNEL(pad_channels_f32_f16, PadChannelsParams, kPadThreads) { Pad<float, Float16>(p); }
OSTRIA_KERNEL(pad_channels_f32_bf16, PadChannelsParams, kPadThreads) { Pad<float, BFloat16>(p); }
OSTRIA_KERNEL(pad_channels_f32_f32, PadChannelsParams, kPadThreads) { Pad<float, float>(p); }
OSTRIA_KERNEL(pad_channels_f16_f16, PadChannelsParams, kPadThreads) { Pad<Float16, Float16>(p); }
OSTRIA_KERNEL(pad_channels_bf16_bf16, PadChannelsParams, kPadThreads) {
  Pad<BFloat16, BFloat16>(p);
}

}  // namespace ostria::kernels
