// SPDX-License-Identifier: Apache-2.0
// The operations of cuDNN's graphs as plain loops in double; what lies between operations is
// rounded to float32, as engines keep it.
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "fake_cuda/cudnn_array.h"

namespace fake_cudnn {
namespace {

// --- convolutions -------------------------------------------------------------------------------

struct ConvNames {
  int image, kernel, result, settings;
};
constexpr ConvNames kForward = {
    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC};
constexpr ConvNames kData = {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC};
constexpr ConvNames kFilter = {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC};

struct Window {
  Ints low, high, stride, dilation;
  explicit Window(const Descriptor& d)
      : low(d.List<int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS)),
        high(d.List<int64_t>(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS)),
        stride(d.List<int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES)),
        dilation(d.List<int64_t>(CUDNN_ATTR_CONVOLUTION_DILATIONS)) {}
};

bool ConvFits(const Descriptor& op, const ConvNames& names) {
  const Ints x = SizesOf(op.Part(names.image)), w = SizesOf(op.Part(names.kernel)),
             y = SizesOf(op.Part(names.result));
  const Window window(op.Part(names.settings));
  if (x.size() != w.size() || x.size() != y.size() || x.size() != window.low.size() + 2) {
    return false;
  }
  for (size_t i = 0; i + 2 < x.size(); ++i) {
    const int64_t reach = (w[i + 2] - 1) * window.dilation[i] + 1;
    const int64_t count =
        (x[i + 2] + window.low[i] + window.high[i] - reach) / window.stride[i] + 1;
    if (count != y[i + 2]) return false;
  }
  return x[0] == y[0] && y[1] == w[0] && x[1] % w[1] == 0 && w[0] % (x[1] / w[1]) == 0;
}

// Calls f(image, kernel, result) with the positions of everything that is multiplied.
template <class F>
void EachProduct(const Descriptor& op, const ConvNames& names, const Ints& x, const Ints& w,
                 const Ints& y, F f) {
  const Window window(op.Part(names.settings));
  const int64_t out_per_group = w[0] / (x[1] / w[1]);
  Ints at(x.size());
  Each(y, [&](const Ints& result, size_t r) {
    Ints kernel_sizes = w;
    kernel_sizes[0] = 1;
    Each(kernel_sizes, [&](Ints kernel, size_t) {
      kernel[0] = result[1];
      at[0] = result[0];
      at[1] = result[1] / out_per_group * w[1] + kernel[1];
      for (size_t i = 2; i < x.size(); ++i) {
        at[i] = result[i] * window.stride[i - 2] - window.low[i - 2] +
                kernel[i] * window.dilation[i - 2];
        if (at[i] < 0 || at[i] >= x[i]) return;
      }
      f(Broadcast(at, x), Broadcast(kernel, w), r);
    });
  });
}

void Convolve(const Descriptor& op, const ConvNames& names, int computed, Memory& memory) {
  const Descriptor* parts[] = {&op.Part(names.image), &op.Part(names.kernel),
                               &op.Part(names.result)};
  Array a[3];
  for (int i = 0; i < 3; ++i) {
    if (i != computed) a[i] = memory.Load(*parts[i]);
  }
  Array& out = a[computed];
  out.sizes = SizesOf(*parts[computed]);
  Each(out.sizes, [&](const Ints&, size_t) { out.values.push_back(0); });
  EachProduct(op, names, a[0].sizes, a[1].sizes, a[2].sizes, [&](size_t x, size_t w, size_t y) {
    const size_t at[] = {x, w, y};
    double product = 1;
    for (int i = 0; i < 3; ++i) {
      if (i != computed) product *= a[i].values[at[i]];
    }
    out.values[at[computed]] += product;
  });
  memory.Store(*parts[computed], std::move(out));
}

// --- element by element -------------------------------------------------------------------------

double Apply(cudnnPointwiseMode_t mode, double x, double b) {
  switch (mode) {
    case CUDNN_POINTWISE_ADD: return x + b;
    case CUDNN_POINTWISE_SUB: return x - b;
    case CUDNN_POINTWISE_MUL: return x * b;
    case CUDNN_POINTWISE_DIV: return x / b;
    case CUDNN_POINTWISE_EXP: return std::exp(x);
    case CUDNN_POINTWISE_LOG: return std::log(x);
    case CUDNN_POINTWISE_IDENTITY: return x;
    case CUDNN_POINTWISE_CMP_GE: return x >= b ? 1 : 0;
    case CUDNN_POINTWISE_CMP_LT: return x < b ? 1 : 0;
    case CUDNN_POINTWISE_RELU_FWD: return x < 0 ? 0 : x;
    case CUDNN_POINTWISE_TANH_FWD: return std::tanh(x);
    case CUDNN_POINTWISE_SIGMOID_FWD: return 1 / (1 + std::exp(-x));
    case CUDNN_POINTWISE_SWISH_FWD: return x / (1 + std::exp(-x));
    case CUDNN_POINTWISE_GELU_FWD: return x * 0.5 * (1 + std::erf(x / std::sqrt(2.0)));
    case CUDNN_POINTWISE_GELU_APPROX_TANH_FWD:
      return x * 0.5 * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    default: return std::nan("");
  }
}

void Pointwise(const Descriptor& op, Memory& memory) {
  const Descriptor& settings = op.Part(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
  const auto mode = settings.One<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE);
  const Array x = memory.Load(op.Part(CUDNN_ATTR_OPERATION_POINTWISE_XDESC));
  const bool two = op.Has(CUDNN_ATTR_OPERATION_POINTWISE_BDESC);
  const Array b = two ? memory.Load(op.Part(CUDNN_ATTR_OPERATION_POINTWISE_BDESC)) : x;
  const bool three = op.Has(CUDNN_ATTR_OPERATION_POINTWISE_TDESC);
  const Array t = three ? memory.Load(op.Part(CUDNN_ATTR_OPERATION_POINTWISE_TDESC)) : x;
  const bool counts = settings.Has(CUDNN_ATTR_POINTWISE_AXIS);
  const auto axis =
      static_cast<size_t>(counts ? settings.One<int64_t>(CUDNN_ATTR_POINTWISE_AXIS) : 0);
  const Descriptor& to = op.Part(CUDNN_ATTR_OPERATION_POINTWISE_YDESC);
  Array y{SizesOf(to), {}};
  Each(y.sizes, [&](const Ints& index, size_t) {
    if (counts) return y.values.push_back(static_cast<double>(index[axis]));
    if (three) {
      const Array& from = t.values[Broadcast(index, t.sizes)] != 0 ? x : b;
      return y.values.push_back(from.values[Broadcast(index, from.sizes)]);
    }
    y.values.push_back(
        Apply(mode, x.values[Broadcast(index, x.sizes)], b.values[Broadcast(index, b.sizes)]));
  });
  memory.Store(to, std::move(y));
}

// The gradient of relu: dy where x, what relu read, is positive.
void PointwiseGrad(const Descriptor& op, Memory& memory) {
  const Array x = memory.Load(op.Part(CUDNN_ATTR_OPERATION_POINTWISE_XDESC));
  Array dx = memory.Load(op.Part(CUDNN_ATTR_OPERATION_POINTWISE_DYDESC));
  for (size_t i = 0; i < dx.values.size(); ++i) dx.values[i] *= x.values[i] > 0 ? 1 : 0;
  memory.Store(op.Part(CUDNN_ATTR_OPERATION_POINTWISE_DXDESC), std::move(dx));
}

// --- sums over all axes but the channels' --------------------------------------------------------

void GenStats(const Descriptor& op, Memory& memory) {
  const Array x = memory.Load(op.Part(CUDNN_ATTR_OPERATION_GENSTATS_XDESC));
  Array sum = PerChannel(x.sizes), square_sum = sum;
  Each(x.sizes, [&](const Ints& index, size_t i) {
    const auto c = static_cast<size_t>(index[1]);
    sum.values[c] += x.values[i];
    square_sum.values[c] += x.values[i] * x.values[i];
  });
  memory.Store(op.Part(CUDNN_ATTR_OPERATION_GENSTATS_SUMDESC), std::move(sum));
  memory.Store(op.Part(CUDNN_ATTR_OPERATION_GENSTATS_SQSUMDESC), std::move(square_sum));
}

// The gradients of scale and bias, and a, b, c such that dx = a dy + b x + c.
void BnGradWeights(const Descriptor& op, Memory& memory) {
  const auto load = [&](int name) { return memory.Load(op.Part(name)); };
  const Array x = load(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_X_DESC),
              dy = load(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_DY_DESC),
              mean = load(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_MEAN_DESC),
              rstd = load(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_INVSTD_DESC),
              scale = load(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_BN_SCALE_DESC);
  Array dscale = PerChannel(x.sizes), dbias = dscale, a = dscale, b = dscale, shift = dscale;
  Each(x.sizes, [&](const Ints& index, size_t i) {
    const auto c = static_cast<size_t>(index[1]);
    dbias.values[c] += dy.values[i];
    dscale.values[c] += dy.values[i] * (x.values[i] - mean.values[c]) * rstd.values[c];
  });
  const double n = static_cast<double>(x.values.size()) / static_cast<double>(dscale.values.size());
  for (size_t c = 0; c < dscale.values.size(); ++c) {
    a.values[c] = scale.values[c] * rstd.values[c];
    b.values[c] = -a.values[c] * rstd.values[c] * dscale.values[c] / n;
    shift.values[c] = -a.values[c] * dbias.values[c] / n - b.values[c] * mean.values[c];
  }
  memory.Store(op.Part(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_DBN_SCALE_DESC), std::move(dscale));
  memory.Store(op.Part(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_DBN_BIAS_DESC), std::move(dbias));
  memory.Store(op.Part(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_EQ_DY_SCALE_DESC), std::move(a));
  memory.Store(op.Part(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_EQ_X_SCALE_DESC), std::move(b));
  memory.Store(op.Part(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_EQ_BIAS), std::move(shift));
}

// --- matrices ------------------------------------------------------------------------------------

// Leading axes of b are repeated where heads share them.
bool MatmulFits(const Descriptor& op) {
  const Ints a = SizesOf(op.Part(CUDNN_ATTR_OPERATION_MATMUL_ADESC)),
             b = SizesOf(op.Part(CUDNN_ATTR_OPERATION_MATMUL_BDESC)),
             c = SizesOf(op.Part(CUDNN_ATTR_OPERATION_MATMUL_CDESC));
  const size_t n = a.size();
  if (n < 2 || b.size() != n || c.size() != n) return false;
  for (size_t i = 0; i + 2 < n; ++i) {
    if (a[i] != c[i] || c[i] % b[i] != 0) return false;
  }
  return a[n - 1] == b[n - 2] && a[n - 2] == c[n - 2] && b[n - 1] == c[n - 1];
}

void Matmul(const Descriptor& op, Memory& memory) {
  const Array a = memory.Load(op.Part(CUDNN_ATTR_OPERATION_MATMUL_ADESC)),
              b = memory.Load(op.Part(CUDNN_ATTR_OPERATION_MATMUL_BDESC));
  const Descriptor& to = op.Part(CUDNN_ATTR_OPERATION_MATMUL_CDESC);
  Array c{SizesOf(to), {}};
  const size_t n = c.sizes.size();
  Each(c.sizes, [&](const Ints& index, size_t) {
    Ints left = index, right = index;
    for (size_t i = 0; i + 2 < n; ++i) right[i] = index[i] / (c.sizes[i] / b.sizes[i]);
    double sum = 0;
    for (int64_t k = 0; k < a.sizes[n - 1]; ++k) {
      left[n - 1] = right[n - 2] = k;
      sum += a.values[Broadcast(left, a.sizes)] * b.values[Broadcast(right, b.sizes)];
    }
    c.values.push_back(sum);
  });
  memory.Store(to, std::move(c));
}

void Reshape(const Descriptor& op, Memory& memory) {
  const Array x = memory.Load(op.Part(CUDNN_ATTR_OPERATION_RESHAPE_XDESC));
  const Descriptor& to = op.Part(CUDNN_ATTR_OPERATION_RESHAPE_YDESC);
  // Used to exchange the last two axes only.
  Array y{SizesOf(to), {}};
  Each(y.sizes, [&](Ints index, size_t) {
    std::swap(index[index.size() - 1], index[index.size() - 2]);
    y.values.push_back(x.values[Broadcast(index, x.sizes)]);
  });
  memory.Store(to, std::move(y));
}

// An axis of the result holds as many, or one for each group of neighbours.
void Reduce(const Descriptor& op, Memory& memory) {
  const auto mode = op.Part(CUDNN_ATTR_OPERATION_REDUCTION_DESC)
                        .One<cudnnReduceTensorOp_t>(CUDNN_ATTR_REDUCTION_OPERATOR);
  const Array x = memory.Load(op.Part(CUDNN_ATTR_OPERATION_REDUCTION_XDESC));
  const Descriptor& to = op.Part(CUDNN_ATTR_OPERATION_REDUCTION_YDESC);
  Array y{SizesOf(to), {}};
  const bool max = mode == CUDNN_REDUCE_TENSOR_MAX;
  Each(y.sizes, [&](const Ints&, size_t) { y.values.push_back(max ? -HUGE_VAL : 0); });
  Each(x.sizes, [&](Ints index, size_t i) {
    for (size_t k = 0; k < index.size(); ++k) index[k] /= x.sizes[k] / y.sizes[k];
    double& into = y.values[Broadcast(index, y.sizes)];
    into = max ? std::max(into, x.values[i]) : into + x.values[i];
  });
  memory.Store(to, std::move(y));
}

}  // namespace

bool Fits(const Descriptor& op) {
  switch (op.type) {
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR: return ConvFits(op, kForward);
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR: return ConvFits(op, kData);
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR:
      return ConvFits(op, kFilter);
    case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR: return MatmulFits(op);
    case CUDNN_BACKEND_OPERATION_RESAMPLE_FWD_DESCRIPTOR: return PoolForwardFits(op);
    case CUDNN_BACKEND_OPERATION_RESAMPLE_BWD_DESCRIPTOR: return PoolGradFits(op);
    default: return true;
  }
}

bool Run(const Descriptor& graph, const std::map<int64_t, void*>& addresses) {
  Memory memory(addresses);
  for (const DescriptorPtr& op : graph.attributes.at(CUDNN_ATTR_OPERATIONGRAPH_OPS).parts) {
    switch (op->type) {
      case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
        Convolve(*op, kForward, 2, memory);
        break;
      case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
        Convolve(*op, kData, 0, memory);
        break;
      case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR:
        Convolve(*op, kFilter, 1, memory);
        break;
      case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR:
        if (op->Has(CUDNN_ATTR_OPERATION_POINTWISE_DYDESC)) {
          PointwiseGrad(*op, memory);
        } else {
          Pointwise(*op, memory);
        }
        break;
      case CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR: GenStats(*op, memory); break;
      case CUDNN_BACKEND_OPERATION_BN_BWD_WEIGHTS_DESCRIPTOR: BnGradWeights(*op, memory); break;
      case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR: Matmul(*op, memory); break;
      case CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR: Reduce(*op, memory); break;
      case CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR: Reshape(*op, memory); break;
      case CUDNN_BACKEND_OPERATION_NORM_FORWARD_DESCRIPTOR: NormForward(*op, memory); break;
      case CUDNN_BACKEND_OPERATION_NORM_BACKWARD_DESCRIPTOR: NormGrad(*op, memory); break;
      case CUDNN_BACKEND_OPERATION_RESAMPLE_FWD_DESCRIPTOR: PoolForward(*op, memory); break;
      case CUDNN_BACKEND_OPERATION_RESAMPLE_BWD_DESCRIPTOR: PoolGrad(*op, memory); break;
      default: return false;
    }
  }
  return memory.good();
}

}  // namespace fake_cudnn
