// SPDX-License-Identifier: Apache-2.0
// Graphs in which batch normalisation is part of the convolutions around it, so that its
// activations are read and written once: engines for these exist in float16. Statistics and
// parameters are float32, scale and shift that prepare an image are of its dtype.
#pragma once

#include "backend/cuda/cudnn/graph.h"

namespace ostria::cuda {

/// One convolution of images with channels last.
struct ConvShape {
  DType dtype = DType::kFloat16;
  int64_t n = 0, in = 0, out = 0;
  std::vector<int64_t> image, kernel, stride, padding;  // per spatial axis; as much on both sides

  std::vector<int64_t> Result() const;
};

/// A graph and its tensors by name.
struct Pattern {
  CudnnGraph graph;
  std::vector<std::pair<std::string_view, int64_t>> tensors;
};

/// y = x * w, and the sums of y and y^2 per channel.
Pattern ConvStats(const ConvShape& c);
/// y = relu(x factor + shift) * w, and the sums of y and y^2 per channel.
Pattern NormReluConvStats(const ConvShape& c);
/// The gradient by w of relu(x factor + shift) * w.
Pattern NormReluConvGradFilter(const ConvShape& c);
/// Through a convolution and the relu and normalisation before it: dz, the gradient by what the
/// normalisation gave, and what it makes of its own gradient: dscale, dbias, and factors a, b, c
/// such that dx = a dz + b x + c.
Pattern ConvGradInputReluNormGrad(const ConvShape& c);
/// Statistics of `count` elements as normalisation wants them: mean, rstd, factor, shift and the
/// moving averages.
Pattern FinishStats(int64_t channels, int64_t count, double epsilon, double rate);

}  // namespace ostria::cuda
