// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/cudnn/patterns.h"

namespace ostria::cuda {
namespace {

GraphSettings Settings(const ConvShape& c) {
  return {.low = c.padding,
          .high = c.padding,
          .stride = c.stride,
          .dilation = std::vector<int64_t>(c.stride.size(), 1)};
}

struct Maker {
  const ConvShape& c;
  Pattern p;

  int64_t Named(std::string_view name, int64_t uid) {
    p.tensors.emplace_back(name, uid);
    return uid;
  }
  int64_t Image(std::string_view name) {
    return Named(name, p.graph.ChannelsLast(c.dtype, c.n, c.in, c.image));
  }
  int64_t Kernel(std::string_view name) {
    return Named(name, p.graph.ChannelsLast(c.dtype, c.out, c.in, c.kernel));
  }
  int64_t Result(std::string_view name) {
    return Named(name, p.graph.ChannelsLast(c.dtype, c.n, c.out, c.Result()));
  }
  int64_t PerChannel(std::string_view name, DType dtype, int64_t channels) {
    return Named(name, p.graph.PerChannel(dtype, channels, c.image.size()));
  }
  // relu(x factor + shift), between operations of the graph.
  int64_t NormRelu(int64_t x) {
    CudnnGraph& g = p.graph;
    const int64_t scaled = g.Pointwise("mul", x, PerChannel("factor", c.dtype, c.in));
    const int64_t shifted = g.Pointwise("add", scaled, PerChannel("shift", c.dtype, c.in));
    return g.Pointwise("relu", shifted);
  }
  void Stats(int64_t y) {
    const int64_t sum = PerChannel("sum", DType::kFloat32, c.out),
                  square_sum = PerChannel("square_sum", DType::kFloat32, c.out);
    p.graph.Add(GraphOp::kGenStats, {{"x", y}, {"sum", sum}, {"square_sum", square_sum}});
  }
};

}  // namespace

std::vector<int64_t> ConvShape::Result() const {
  std::vector<int64_t> out;
  for (size_t i = 0; i < image.size(); ++i) {
    out.push_back((image[i] + 2 * padding[i] - kernel[i]) / stride[i] + 1);
  }
  return out;
}

Pattern ConvStats(const ConvShape& c) {
  Maker m{c, {}};
  const int64_t x = m.Image("x"), w = m.Kernel("w"), y = m.Result("y");
  m.p.graph.Add(GraphOp::kConvForward, {{"x", x}, {"w", w}, {"y", y}}, Settings(c));
  m.Stats(y);
  return m.p;
}

Pattern NormReluConvStats(const ConvShape& c) {
  Maker m{c, {}};
  const int64_t x = m.NormRelu(m.Image("x")), w = m.Kernel("w"), y = m.Result("y");
  m.p.graph.Add(GraphOp::kConvForward, {{"x", x}, {"w", w}, {"y", y}}, Settings(c));
  m.Stats(y);
  return m.p;
}

Pattern NormReluConvGradFilter(const ConvShape& c) {
  Maker m{c, {}};
  const int64_t x = m.NormRelu(m.Image("x")), dy = m.Result("dy"), dw = m.Kernel("dw");
  m.p.graph.Add(GraphOp::kConvGradFilter, {{"x", x}, {"dy", dy}, {"dw", dw}}, Settings(c));
  return m.p;
}

// z = (x - mean) rstd scale + bias was positive where the gradient goes through.
Pattern ConvGradInputReluNormGrad(const ConvShape& c) {
  Maker m{c, {}};
  CudnnGraph& g = m.p.graph;
  constexpr DType kParams = DType::kFloat32;
  const int64_t dy = m.Result("dy"), w = m.Kernel("w"), x = m.Image("x"), dz = m.Image("dz");
  const auto channels = [&](std::string_view name) { return m.PerChannel(name, kParams, c.in); };
  const int64_t mean = channels("mean"), rstd = channels("rstd"), scale = channels("scale"),
                bias = channels("bias");
  const int64_t da = g.Virtual(kParams, x);
  g.Add(GraphOp::kConvGradInput, {{"dy", dy}, {"w", w}, {"dx", da}}, Settings(c));
  int64_t z = g.Pointwise("sub", x, mean);
  z = g.Pointwise("mul", z, rstd);
  z = g.Pointwise("mul", z, scale);
  z = g.Pointwise("add", z, bias);
  g.Add(GraphOp::kPointwise, {{"dy", da}, {"x", z}, {"dx", dz}}, {.mode = "relu_grad"});
  g.Add(GraphOp::kBnGradWeights, {{"x", x},
                                  {"dy", dz},
                                  {"mean", mean},
                                  {"rstd", rstd},
                                  {"scale", scale},
                                  {"dscale", channels("dscale")},
                                  {"dbias", channels("dbias")},
                                  {"dy_factor", channels("a")},
                                  {"x_factor", channels("b")},
                                  {"shift", channels("c")}});
  return m.p;
}

Pattern FinishStats(int64_t channels, int64_t count, double epsilon, double rate) {
  Pattern p;
  std::vector<std::pair<std::string_view, int64_t>> roles;
  for (const std::string_view name : {"sum", "square_sum", "scale", "bias", "old_mean", "old_var",
                                      "new_mean", "new_var", "mean", "rstd"}) {
    roles.emplace_back(name, p.graph.PerChannel(DType::kFloat32, channels));
  }
  for (const std::string_view name : {"factor", "shift"}) {
    roles.emplace_back(name, p.graph.PerChannel(DType::kFloat16, channels));
  }
  p.tensors = roles;
  roles.emplace_back("count", p.graph.Scalar(DType::kInt64, static_cast<double>(count), 4));
  roles.emplace_back("epsilon", p.graph.Scalar(DType::kFloat32, epsilon, 4));
  roles.emplace_back("rate", p.graph.Scalar(DType::kFloat32, rate, 4));
  p.graph.Add(GraphOp::kBnFinalize, std::move(roles));
  return p;
}

}  // namespace ostria::cuda
