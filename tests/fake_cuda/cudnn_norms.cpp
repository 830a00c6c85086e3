// SPDX-License-Identifier: Apache-2.0
// Normalisations of the fake cuDNN: the sizes of the statistics say which elements share them, a
// channel's in batch mode and a row's in the others.
#include "fake_cuda/cudnn_array.h"

namespace fake_cudnn {
namespace {

// Of every element of `like`, calls f(position, its statistics', its parameters').
template <class F>
void EachOf(const Array& like, const Ints& statistics, const Ints& parameters, F f) {
  Each(like.sizes, [&](const Ints& index, size_t i) {
    f(i, Broadcast(index, statistics), Broadcast(index, parameters));
  });
}

Array Zeros(const Ints& sizes) {
  Array out{sizes, {}};
  Each(sizes, [&](const Ints&, size_t) { out.values.push_back(0); });
  return out;
}

double PerStatistic(const Array& all, const Array& statistics) {
  return static_cast<double>(all.values.size()) / static_cast<double>(statistics.values.size());
}

}  // namespace

void NormForward(const Descriptor& op, Memory& memory) {
  const auto load = [&](int name) { return memory.Load(op.Part(name)); };
  const bool rms =
      op.One<cudnnBackendNormMode_t>(CUDNN_ATTR_OPERATION_NORM_FWD_MODE) == CUDNN_RMS_NORM;
  const Array x = load(CUDNN_ATTR_OPERATION_NORM_FWD_XDESC),
              scale = load(CUDNN_ATTR_OPERATION_NORM_FWD_SCALE_DESC);
  const bool shifts = op.Has(CUDNN_ATTR_OPERATION_NORM_FWD_BIAS_DESC);
  const Array bias = shifts ? load(CUDNN_ATTR_OPERATION_NORM_FWD_BIAS_DESC) : Zeros(scale.sizes);
  const double epsilon = load(CUDNN_ATTR_OPERATION_NORM_FWD_EPSILON_DESC).values[0];
  const Descriptor& to_rstd = op.Part(CUDNN_ATTR_OPERATION_NORM_FWD_INV_VARIANCE_DESC);
  Array mean = Zeros(SizesOf(to_rstd)), rstd = mean, y = x;
  const double n = PerStatistic(x, mean);
  const auto each = [&](auto f) { EachOf(x, mean.sizes, scale.sizes, f); };
  if (!rms) each([&](size_t i, size_t s, size_t) { mean.values[s] += x.values[i] / n; });
  each([&](size_t i, size_t s, size_t) {
    const double d = x.values[i] - mean.values[s];
    rstd.values[s] += d * d / n;
  });
  for (double& r : rstd.values) r = 1 / std::sqrt(r + epsilon);
  each([&](size_t i, size_t s, size_t p) {
    y.values[i] =
        (x.values[i] - mean.values[s]) * rstd.values[s] * scale.values[p] + bias.values[p];
  });
  memory.Store(op.Part(CUDNN_ATTR_OPERATION_NORM_FWD_YDESC), std::move(y));
  memory.Store(to_rstd, std::move(rstd));
  if (!rms) memory.Store(op.Part(CUDNN_ATTR_OPERATION_NORM_FWD_MEAN_DESC), std::move(mean));
}

// dx = rstd (g - mean(g) - xhat mean(g xhat)) with g = dy scale; without mean(g) in rms mode.
void NormGrad(const Descriptor& op, Memory& memory) {
  const auto load = [&](int name) { return memory.Load(op.Part(name)); };
  const bool rms =
      op.One<cudnnBackendNormMode_t>(CUDNN_ATTR_OPERATION_NORM_BWD_MODE) == CUDNN_RMS_NORM;
  const Array x = load(CUDNN_ATTR_OPERATION_NORM_BWD_XDESC),
              dy = load(CUDNN_ATTR_OPERATION_NORM_BWD_DYDESC),
              scale = load(CUDNN_ATTR_OPERATION_NORM_BWD_SCALE_DESC),
              rstd = load(CUDNN_ATTR_OPERATION_NORM_BWD_INV_VARIANCE_DESC);
  const Array mean = rms ? Zeros(rstd.sizes) : load(CUDNN_ATTR_OPERATION_NORM_BWD_MEAN_DESC);
  Array dx = x, xhat = x, dscale = Zeros(scale.sizes), dbias = dscale;
  Array of_g = Zeros(rstd.sizes), of_product = of_g;
  const double n = PerStatistic(x, rstd);
  const auto each = [&](auto f) { EachOf(x, rstd.sizes, scale.sizes, f); };
  each([&](size_t i, size_t s, size_t p) {
    xhat.values[i] = (x.values[i] - mean.values[s]) * rstd.values[s];
    const double g = dy.values[i] * scale.values[p];
    if (!rms) of_g.values[s] += g / n;
    of_product.values[s] += g * xhat.values[i] / n;
    dscale.values[p] += dy.values[i] * xhat.values[i];
    dbias.values[p] += dy.values[i];
  });
  each([&](size_t i, size_t s, size_t p) {
    const double g = dy.values[i] * scale.values[p];
    dx.values[i] = (g - of_g.values[s] - xhat.values[i] * of_product.values[s]) * rstd.values[s];
  });
  memory.Store(op.Part(CUDNN_ATTR_OPERATION_NORM_BWD_DXDESC), std::move(dx));
  memory.Store(op.Part(CUDNN_ATTR_OPERATION_NORM_BWD_DSCALE_DESC), std::move(dscale));
  if (!rms) memory.Store(op.Part(CUDNN_ATTR_OPERATION_NORM_BWD_DBIAS_DESC), std::move(dbias));
}

}  // namespace fake_cudnn
