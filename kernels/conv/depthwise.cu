// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution and the gradient of its image, which gathers.
#include "kernels/conv/depthwise_impl.h"
#include "kernels/linalg/activation.h"

namespace ostria::kernels {
namespace {

template <class T, int kCount>
OSTRIA_DEVICE void Finish(const DepthwiseParams& p, int64_t at, int64_t channel,
                          float (&sum)[kCount]) {
  if (p.bias != nullptr) {
    for (int k = 0; k < kCount; ++k) sum[k] += Load(static_cast<const T*>(p.bias) + channel + k);
  }
  if (p.addend != nullptr) {
    float v[kCount];
    LoadVector(static_cast<const T*>(p.addend) + at, v);
    for (int k = 0; k < kCount; ++k) sum[k] += v[k];
  }
  if (p.activation != kActNone) {
    for (int k = 0; k < kCount; ++k) sum[k] = Activate(p.activation, sum[k]);
  }
  StoreVector(static_cast<T*>(p.dst) + at, sum);
}

template <class T, int kCount>
OSTRIA_DEVICE void ForwardOf(const DepthwiseParams& p, const float* weights) {
  const WindowShape& w = p.window;
  const int64_t channels = w.channels * p.multiplier;
  ForTile<kCount>(p, w.out, channels, [&](const WindowPlace& o, int64_t channel) {
    const T* const image = static_cast<const T*>(p.src) + channel / p.multiplier;
    float sum[kCount] = {};
    OSTRIA_NO_UNROLL
    for (int t = 0; t < w.size[0]; ++t) {
      const int d = o.at[0] * w.stride[0] - w.low[0] + t * w.dilation[0];
      if (d < 0 || d >= w.in[0]) continue;
      OSTRIA_NO_UNROLL
      for (int i = 0; i < w.size[1]; ++i) {
        const int h = o.at[1] * w.stride[1] - w.low[1] + i * w.dilation[1];
        if (h < 0 || h >= w.in[1]) continue;
        const T* const line = image + PixelOf(o.image, d, h, 0, w.in) * w.channels;
        const float* weight = weights + (t * w.size[1] + i) * w.size[2] * p.tile + o.group * kCount;
        int x = o.at[2] * w.stride[2] - w.low[2];
        OSTRIA_NO_UNROLL
        for (int j = 0; j < w.size[2]; ++j, x += w.dilation[2], weight += p.tile) {
          if (x < 0 || x >= w.in[2]) continue;
          float v[kCount];
          LoadVector(line + x * w.channels, v);
          for (int k = 0; k < kCount; ++k) sum[k] += v[k] * weight[k];
        }
      }
    }
    const int64_t at = PixelOf(o.image, o.at[0], o.at[1], o.at[2], w.out) * channels + channel;
    Finish<T>(p, at, channel, sum);
  });
}

template <class T>
OSTRIA_DEVICE void Forward(const DepthwiseParams& p) {
  OSTRIA_DYNAMIC_SHARED(float, weights);
  StageWeights<T>(p, int64_t{blockIdx.y} * p.tile, p.tile, weights);
  if (TakesVectors<T>(p, p.src, p.dst, p.addend)) {
    ForwardOf<T, kVector<T>>(p, weights);
  } else {
    ForwardOf<T, 1>(p, weights);
  }
}

template <class T, int kCount>
OSTRIA_DEVICE void GradInputOf(const DepthwiseParams& p, const float* weights) {
  const WindowShape& w = p.window;
  const int64_t channels = w.channels * p.multiplier;
  const int staged = p.tile * p.multiplier;
  ForTile<kCount>(p, w.in, w.channels, [&](const WindowPlace& x, int64_t channel) {
    const T* const grad = static_cast<const T*>(p.src) + channel * p.multiplier;
    float sum[kCount] = {};
    OSTRIA_NO_UNROLL
    for (int t = 0; t < w.size[0]; ++t) {
      const int reach_d = x.at[0] + w.low[0] - t * w.dilation[0], d = reach_d / w.stride[0];
      if (reach_d < 0 || d * w.stride[0] != reach_d || d >= w.out[0]) continue;
      OSTRIA_NO_UNROLL
      for (int i = 0; i < w.size[1]; ++i) {
        const int reach_h = x.at[1] + w.low[1] - i * w.dilation[1], h = reach_h / w.stride[1];
        if (reach_h < 0 || h * w.stride[1] != reach_h || h >= w.out[1]) continue;
        const T* const line = grad + PixelOf(x.image, d, h, 0, w.out) * channels;
        const float* weight = weights + (t * w.size[1] + i) * w.size[2] * staged +
                              static_cast<int>(x.group) * kCount * p.multiplier;
        OSTRIA_NO_UNROLL
        for (int j = 0; j < w.size[2]; ++j, weight += staged) {
          const int reach = x.at[2] + w.low[2] - j * w.dilation[2], o = reach / w.stride[2];
          if (reach < 0 || o * w.stride[2] != reach || o >= w.out[2]) continue;
          if constexpr (kCount == 1) {
            OSTRIA_NO_UNROLL
            for (int m = 0; m < p.multiplier; ++m) {
              sum[0] += Load(line + o * channels + m) * weight[m];
            }
          } else {
            float v[kCount];
            LoadVector(line + o * channels, v);
            for (int k = 0; k < kCount; ++k) sum[k] += v[k] * weight[k];
          }
        }
      }
    }
    const int64_t at = PixelOf(x.image, x.at[0], x.at[1], x.at[2], w.in) * w.channels + channel;
    StoreVector(static_cast<T*>(p.dst) + at, sum);
  });
}

template <class T>
OSTRIA_DEVICE void GradInput(const DepthwiseParams& p) {
  OSTRIA_DYNAMIC_SHARED(float, weights);
  const int staged = p.tile * p.multiplier;
  StageWeights<T>(p, int64_t{blockIdx.y} * staged, staged, weights);
  if (TakesVectors<T>(p, p.src, p.dst)) {
    GradInputOf<T, kVector<T>>(p, weights);
  } else {
    GradInputOf<T, 1>(p, weights);
  }
}

}  // namespace

#define OSTRIA_DEPTHWISE(suffix, T)                                                               \
  OSTRIA_KERNEL(depthwise_forward##suffix, DepthwiseParams, kDepthwiseThreads) { Forward<T>(p); } \
  OSTRIA_KERNEL(depthwise_grad_input##suffix, DepthwiseParams, kDepthwiseThreads) {               \
    GradInput<T>(p);                                                                              \
  }
OSTRIA_DEPTHWISE(_f32, float)
OSTRIA_DEPTHWISE(_f16, Float16)
OSTRIA_DEPTHWISE(_bf16, BFloat16)
#undef OSTRIA_DEPTHWISE

}  // namespace ostria::kernels
