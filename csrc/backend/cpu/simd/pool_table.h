// SPDX-License-Identifier: Apache-2.0
// Pools over dense images [n, d, h, w, c], vectorised along channels, one row of the result (or of
// the gradient) per call. Plain data only: files built with AVX flags include it. Gradients gather:
// a row looks at every window that covers it, in window order, so threads never write the same
// place.
#pragma once

#include <cstdint>

namespace ostria {

struct PoolShape {
  int64_t n, d, h, w, c;  // image
  int64_t od, oh, ow;     // result
  int64_t kd, kh, kw, stride_d, stride_h, stride_w, front, top, left;
  bool wide_index;  // int32, else uint8
};

template <class T>
struct PoolKernels {
  // Row `row` (of n * od * oh) of y and index.
  void (*max)(const PoolShape&, const T* x, T* y, void* index, int64_t row);
  void (*average)(const PoolShape&, const T* x, T* y, int64_t row);
  // Row `row` (of n * d * h) of dx.
  void (*max_grad)(const PoolShape&, const T* g, const void* index, T* dx, int64_t row);
  void (*average_grad)(const PoolShape&, const T* g, T* dx, int64_t row);
};
struct PoolTable {
  PoolKernels<float> f32;
  PoolKernels<double> f64;
};
extern const PoolTable kPoolBaseline, kPoolAvx2, kPoolAvx512;

}  // namespace ostria
