// SPDX-License-Identifier: Apache-2.0
// Pools, softmax, cross-entropy and normalisation: implementations against loops in double, each
// decomposition against its implementation, first and second derivatives.
#include <limits>

#include "backend/cpu/kernels.h"
#include "backend/cpu/simd/cpu_isa.h"
#include "ops/ops.h"
#include "tests/unit/backend/cpu/evaluate.h"

namespace ostria::cpu {
namespace {

using Ints = std::vector<int64_t>;
constexpr DType kF32 = DType::kFloat32, kF64 = DType::kFloat64;

// --- pools -------------------------------------------------------------------------------------

struct Geometry {
  int64_t n, h, w, c;
  Ints window, strides, padding = {0, 0, 0, 0};
};
const Geometry kGrid[] = {
    {2, 8, 8, 16, {2, 2}, {2, 2}},
    {1, 9, 7, 33, {3, 2}, {2, 1}, {1, 1, 0, 1}},
    {3, 5, 5, 1, {3, 3}, {1, 1}, {1, 1, 1, 1}},
    {1, 26, 26, 64, {2, 2}, {2, 2}},
    {2, 7, 6, 5, {2, 3}, {3, 4}},
    {1, 20, 20, 3, {17, 17}, {2, 2}, {8, 8, 8, 8}},  // more positions than a byte counts
};

NodeCase PoolNode(const Geometry& s, const OpDef& op, DType dtype) {
  NodeCase node{&op, {{dtype, {s.n, s.h, s.w, s.c}}}, {s.window, s.strides, s.padding}};
  return node;
}

// Calls fn(image index, result index, position) for every element a window sees, in order.
template <class Fn>
void ForWindows(const Geometry& s, const Shape& y, Fn fn) {
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t oh = 0; oh < y[1].value(); ++oh)
      for (int64_t ow = 0; ow < y[2].value(); ++ow)
        for (int64_t c = 0; c < s.c; ++c)
          for (int64_t i = 0; i < s.window[0]; ++i)
            for (int64_t j = 0; j < s.window[1]; ++j) {
              const int64_t h = oh * s.strides[0] - s.padding[0] + i;
              const int64_t w = ow * s.strides[1] - s.padding[2] + j;
              if (h < 0 || w < 0 || h >= s.h || w >= s.w) continue;
              fn(((n * s.h + h) * s.w + w) * s.c + c,
                 ((n * y[1].value() + oh) * y[2].value() + ow) * s.c + c, i * s.window[1] + j);
            }
}

TEST(Pool2d, Forward) {
  for (const Geometry& s : kGrid) {
    for (DType dtype : {kF32, kF64}) {
      NodeCase node = PoolNode(s, ops::kMaxPool2d, dtype);
      const Shape y = node.outputs()[0].shape;
      EXPECT_EQ(node.outputs()[1].dtype, s.window[0] > 16 ? DType::kInt32 : DType::kUInt8);
      Values in = RandomInputs(node, 5);
      for (double& v : in[0]) v = std::round(v);  // ties: the first wins
      const Reference max = [&](const NodeCase&, const Values& x) {
        Values out(2, std::vector<double>(y.numel()));
        std::vector<bool> seen(y.numel());
        ForWindows(s, y, [&](int64_t image, int64_t at, int64_t p) {
          if (!seen[at] || x[0][image] > out[0][at]) {
            out[0][at] = x[0][image];
            out[1][at] = static_cast<double>(p);
            seen[at] = true;
          }
        });
        return out;
      };
      Conform(PoolingKernels(), node, in, max, 0);
      node.op = &ops::kAvgPool2d;
      const Reference average = [&](const NodeCase&, const Values& x) {
        std::vector<double> sum(y.numel()), count(y.numel());
        ForWindows(s, y, [&](int64_t image, int64_t at, int64_t) {
          sum[at] += x[0][image];
          ++count[at];
        });
        for (size_t i = 0; i < sum.size(); ++i) sum[i] /= count[i];
        return Values{sum};
      };
      Conform(PoolingKernels(), node, in, average, dtype == kF32 ? 1e-5 : 1e-12);
    }
  }
}

TEST(Pool2d, Backward) {
  for (const Geometry& s : kGrid) {
    for (DType dtype : {kF32, kF64}) {
      const NodeCase forward = PoolNode(s, ops::kMaxPool2d, dtype);
      const auto results = forward.outputs();
      const Shape y = results[0].shape;
      // Positions that lie inside the image, differing from place to place.
      std::vector<double> index(y.numel());
      ForWindows(s, y, [&](int64_t image, int64_t at, int64_t p) {
        if (image % 3 == at % 3 || index[at] == 0) index[at] = static_cast<double>(p);
      });
      NodeCase node{&ops::kMaxPoolGrad, {results[0], results[1]}, forward.attrs};
      node.attrs.push_back(Shape{s.h, s.w});
      Values in = {RandomInputs({&ops::kAvgPool2d, {results[0]}, {}}, 4)[0], index};
      const Reference max = [&](const NodeCase&, const Values& x) {
        std::vector<double> dx(s.n * s.h * s.w * s.c);
        ForWindows(s, y, [&](int64_t image, int64_t at, int64_t p) {
          if (x[1][at] == static_cast<double>(p)) dx[image] += x[0][at];
        });
        return Values{dx};
      };
      Conform(PoolingKernels(), node, in, max, dtype == kF32 ? 1e-5 : 1e-12);
      if (s.window[0] < 16) ExpectDecomposes(node, in, dtype == kF32 ? 1e-5 : 1e-12);
      node = {&ops::kAvgPoolGrad, {results[0]}, node.attrs};
      in.pop_back();
      const Reference average = [&](const NodeCase&, const Values& x) {
        std::vector<double> dx(s.n * s.h * s.w * s.c), count(y.numel());
        ForWindows(s, y, [&](int64_t, int64_t at, int64_t) { ++count[at]; });
        ForWindows(s, y,
                   [&](int64_t image, int64_t at, int64_t) { dx[image] += x[0][at] / count[at]; });
        return Values{dx};
      };
      Conform(PoolingKernels(), node, in, average, dtype == kF32 ? 1e-5 : 1e-12);
      if (s.window[0] < 16) ExpectDecomposes(node, in, dtype == kF32 ? 1e-5 : 1e-12);
    }
  }
}

TEST(Pool2d, DecompositionsAndGradients) {
  for (int i : {1, 2, 4}) {
    for (const OpDef* op : {&ops::kMaxPool2d, &ops::kAvgPool2d}) {
      const NodeCase node = PoolNode(kGrid[i], *op, kF64);
      const Values in = RandomInputs(node, 6);
      ExpectDecomposes(node, in, 1e-12);
      ExpectGradients(node, in, 1);
      if (op == &ops::kAvgPool2d) ExpectGradients(node, in, 2);
    }
  }
}

TEST(Pool2d, NanWins) {
  const NodeCase node = PoolNode({1, 2, 2, 1, {2, 2}, {2, 2}}, ops::kMaxPool2d, kF32);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const ImplRun& run : RunAll(PoolingKernels(), node, {{1, nan, 5, 2}}, 1)) {
    EXPECT_TRUE(std::isnan(run.outputs[0][0])) << run.impl;
    EXPECT_EQ(run.outputs[1][0], 1) << run.impl;
  }
}

// --- softmax and cross-entropy -----------------------------------------------------------------

// Softmax over the last axis, log of it when asked.
std::vector<double> SoftmaxOf(const std::vector<double>& x, int64_t cols, bool log) {
  std::vector<double> y(x.size());
  for (size_t r = 0; r < x.size(); r += cols) {
    const double top = *std::max_element(x.begin() + r, x.begin() + r + cols);
    double sum = 0;
    for (int64_t c = 0; c < cols; ++c) sum += std::exp(x[r + c] - top);
    for (int64_t c = 0; c < cols; ++c) {
      const double l = x[r + c] - top - std::log(sum);
      y[r + c] = log ? l : std::exp(l);
    }
  }
  return y;
}

TEST(Softmax, LastAxis) {
  for (const Shape& shape :
       {Shape{71, 229}, Shape{3, 10}, Shape{1}, Shape{2, 3, 17}, Shape{5, 6, 1}}) {
    const int64_t cols = shape[shape.rank() - 1].value();
    for (DType dtype : {kF32, kF64}) {
      const double tolerance = dtype == kF32 ? 2e-6 : 1e-13;
      for (bool log : {false, true}) {
        const NodeCase node{
            log ? &ops::kLogSoftmax : &ops::kSoftmax, {{dtype, shape}}, {int64_t{-1}}};
        const Values in = RandomInputs(node, 2);
        Conform(
            NnKernels(), node, in,
            [&](const NodeCase&, const Values& x) { return Values{SoftmaxOf(x[0], cols, log)}; },
            tolerance);
        ExpectDecomposes(node, in, tolerance);
      }
    }
  }
}

TEST(Softmax, OtherAxesDecompose) {
  const NodeCase node{&ops::kSoftmax, {{kF64, {3, 4, 5}}}, {int64_t{1}}};
  const Tensor y =
      EvaluateNode(*node.op, node.attrs, ToTensors(node, RandomInputs(node, 1)), false)[0];
  for (int64_t i = 0; i < 3; ++i) {
    for (int64_t k = 0; k < 5; ++k) {
      double sum = 0;
      for (int64_t j = 0; j < 4; ++j) sum += y.data<double>()[(i * 4 + j) * 5 + k];
      EXPECT_NEAR(sum, 1, 1e-14);
    }
  }
}

TEST(Softmax, Gradients) {
  for (const OpDef* op : {&ops::kSoftmax, &ops::kLogSoftmax}) {
    for (int64_t axis : {-1, 0}) {
      const NodeCase node{op, {{kF64, {3, 4}}}, {axis}};
      for (int order : {1, 2}) ExpectGradients(node, RandomInputs(node, 3), order);
    }
  }
  for (const OpDef* op : {&ops::kSoftmaxGrad, &ops::kLogSoftmaxGrad}) {
    const NodeCase node{op, {{kF64, {3, 4}}, {kF64, {3, 4}}}, {int64_t{-1}}};
    ExpectDecomposes(node, RandomInputs(node, 3), 1e-12);
    for (int order : {1, 2}) ExpectGradients(node, RandomInputs(node, 3), order);
  }
}

TEST(CrossEntropy, ForwardAndBackward) {
  for (DType dtype : {kF32, kF64}) {
    for (DType label : {DType::kInt32, DType::kInt64}) {
      const NodeCase node{
          &ops::kSparseSoftmaxCrossEntropy, {{dtype, {37, 11}}, {label, {37}}}, {int64_t{-1}}};
      Values in = RandomInputs(node, 3);
      for (size_t i = 0; i < in[1].size(); ++i) in[1][i] = static_cast<double>(i * 5 % 11);
      const double tolerance = dtype == kF32 ? 2e-6 : 1e-13;
      const Reference loss = [](const NodeCase&, const Values& x) {
        const auto l = SoftmaxOf(x[0], 11, true);
        Values out(1);
        for (size_t r = 0; r < x[1].size(); ++r) out[0].push_back(-l[r * 11 + x[1][r]]);
        return out;
      };
      Conform(NnKernels(), node, in, loss, tolerance);
      ExpectDecomposes(node, in, tolerance);
      NodeCase grad{&ops::kSparseSoftmaxCrossEntropyGrad, node.inputs, {int64_t{-1}}};
      grad.inputs.push_back({dtype, {37}});
      in.push_back(RandomInputs(grad, 9)[2]);
      const Reference dlogits = [&](const NodeCase&, const Values& x) {
        auto p = SoftmaxOf(x[0], 11, false);
        for (size_t r = 0; r < x[1].size(); ++r) {
          p[r * 11 + x[1][r]] -= 1;
          for (int c = 0; c < 11; ++c) p[r * 11 + c] *= x[2][r];
        }
        return Values{p, loss(node, x)[0]};
      };
      Conform(NnKernels(), grad, in, dlogits, tolerance);
      ExpectDecomposes(grad, in, tolerance);
    }
  }
}

TEST(CrossEntropy, Gradients) {
  const NodeCase node{
      &ops::kSparseSoftmaxCrossEntropy, {{kF64, {3, 4}}, {DType::kInt64, {3}}}, {int64_t{-1}}};
  Values in = RandomInputs(node, 3);
  in[1] = {0, 3, 1};
  for (int order : {1, 2}) ExpectGradients(node, in, order);
}

TEST(CrossEntropy, LabelsOutOfRange) {
  const NodeCase node{
      &ops::kSparseSoftmaxCrossEntropy, {{kF32, {3, 4}}, {DType::kInt64, {3}}}, {int64_t{-1}}};
  for (double bad : {4.0, -1.0}) {
    Values in = RandomInputs(node, 3);
    in[1] = {0, bad, 9};
    try {
      RunAll(NnKernels(), node, in, 1);
      FAIL() << "no error";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kIndexError);
      EXPECT_EQ(
          std::string(e.what()),
          StrCat("sparse_softmax_cross_entropy: label ", static_cast<int>(bad),
                 " of row 1 is out of range for logits with 4 classes; labels must be in 0..3"));
    }
  }
}

// --- normalisation -----------------------------------------------------------------------------

TEST(LayerNorm, AgainstDouble) {
  for (const auto& [shape, axes] :
       {std::pair<Shape, int64_t>{{71, 229}, 1}, {{4, 3, 8}, 2}, {{6, 1}, 1}, {{5, 7}, 2}}) {
    for (DType dtype : {kF32, kF64}) {
      Shape scale;
      for (int64_t i = shape.rank() - axes; i < shape.rank(); ++i) scale.Append(shape[i]);
      const NodeCase node{
          &ops::kLayerNorm, {{dtype, shape}, {dtype, scale}, {dtype, scale}}, {1e-3, axes}};
      const Values in = RandomInputs(node, 3);
      const int64_t cols = scale.numel(), rows = shape.numel() / cols;
      const Reference reference = [&](const NodeCase&, const Values& x) {
        Values out = {std::vector<double>(rows * cols), std::vector<double>(rows),
                      std::vector<double>(rows)};
        for (int64_t r = 0; r < rows; ++r) {
          double mean = 0, var = 0;
          for (int64_t c = 0; c < cols; ++c) mean += x[0][r * cols + c] / cols;
          for (int64_t c = 0; c < cols; ++c) var += std::pow(x[0][r * cols + c] - mean, 2) / cols;
          out[1][r] = mean;
          out[2][r] = 1 / std::sqrt(var + 1e-3);
          for (int64_t c = 0; c < cols; ++c) {
            out[0][r * cols + c] = (x[0][r * cols + c] - mean) * out[2][r] * x[1][c] + x[2][c];
          }
        }
        return out;
      };
      const double tolerance = dtype == kF32 ? 2e-5 : 1e-12;
      Conform(NnKernels(), node, in, reference, tolerance);
      ExpectDecomposes(node, in, tolerance);
      const auto results = node.outputs();
      const NodeCase grad{&ops::kLayerNormGrad,
                          {{dtype, shape}, {dtype, shape}, {dtype, scale}, results[1], results[2]},
                          {axes}};
      Values with = RandomInputs(grad, 4);
      const Values forward = reference(node, {with[1], with[2], in[2]});
      with[3] = forward[1];
      with[4] = forward[2];
      ExpectDecomposes(grad, with, dtype == kF32 ? 1e-4 : 1e-11);
    }
  }
}

TEST(LayerNorm, Gradients) {
  const NodeCase node{
      &ops::kLayerNorm, {{kF64, {3, 5}}, {kF64, {5}}, {kF64, {5}}}, {1e-3, int64_t{1}}};
  for (int order : {1, 2}) ExpectGradients(node, RandomInputs(node, 3), order);
  const NodeCase whole{
      &ops::kLayerNorm, {{kF64, {2, 3}}, {kF64, {2, 3}}, {kF64, {2, 3}}}, {1e-3, int64_t{2}}};
  for (int order : {1, 2}) ExpectGradients(whole, RandomInputs(whole, 3), order);
}

TEST(BatchNorm, Gradients) {
  const NodeCase node{&ops::kBatchNorm, {{kF64, {4, 2, 3}}, {kF64, {3}}, {kF64, {3}}}, {1e-3}};
  for (int order : {1, 2}) ExpectGradients(node, RandomInputs(node, 3), order);
  NodeCase inference{&ops::kBatchNormInference,
                     {{kF64, {4, 3}}, {kF64, {3}}, {kF64, {3}}, {kF64, {3}}, {kF64, {3}}},
                     {1e-3}};
  Values in = RandomInputs(inference, 3);
  for (double& v : in[4]) v = 0.5 + v * v;
  for (int order : {1, 2}) ExpectGradients(inference, in, order);
}

TEST(BatchNorm, AgainstDouble) {
  for (const Shape& shape :
       {Shape{64, 7}, Shape{8, 5, 5, 32}, Shape{3, 4, 4, 17}, Shape{700, 64}}) {
    for (DType dtype : {kF32, kF64}) {
      const int64_t cols = shape[shape.rank() - 1].value(), rows = shape.numel() / cols;
      const NodeCase node{
          &ops::kBatchNorm, {{dtype, shape}, {dtype, {cols}}, {dtype, {cols}}}, {1e-3}};
      const Values in = RandomInputs(node, 3);
      Values want = {std::vector<double>(rows * cols), std::vector<double>(cols),
                     std::vector<double>(cols)};
      for (int64_t c = 0; c < cols; ++c) {
        double mean = 0, var = 0;
        for (int64_t r = 0; r < rows; ++r) mean += in[0][r * cols + c] / rows;
        for (int64_t r = 0; r < rows; ++r) var += std::pow(in[0][r * cols + c] - mean, 2) / rows;
        want[1][c] = mean;
        want[2][c] = var;
        for (int64_t r = 0; r < rows; ++r) {
          want[0][r * cols + c] =
              (in[0][r * cols + c] - mean) / std::sqrt(var + 1e-3) * in[1][c] + in[2][c];
        }
      }
      Conform(
          NormKernels(), node, in, [&](const NodeCase&, const Values&) { return want; },
          dtype == kF32 ? 5e-5 : 1e-11);
      ExpectDecomposes(node, in, dtype == kF32 ? 5e-5 : 1e-11);
      const NodeCase grad{
          &ops::kBatchNormGrad,
          {{dtype, shape}, {dtype, shape}, {dtype, {cols}}, {dtype, {cols}}, {dtype, {cols}}},
          {1e-3}};
      Values with = {RandomInputs(node, 8)[0], in[0], in[1], want[1], want[2]};
      // The decomposition is what the second derivatives are checked on: take it as the reference.
      const auto parts = EvaluateNode(*grad.op, grad.attrs, ToTensors(grad, with), true);
      Conform(
          NormKernels(), grad, with,
          [&](const NodeCase&, const Values&) {
            return Values{ToValues(parts[0]), ToValues(parts[1]), ToValues(parts[2])};
          },
          dtype == kF32 ? 2e-4 : 1e-11);
    }
  }
}

// Every vector width, odd channel counts included.
TEST(Nn, EveryInstructionSet) {
  const Isa before = CurrentIsa();
  for (Isa isa : {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512}) {
    if (isa > BestIsa()) continue;
    SetIsa(isa);
    for (DType dtype : {kF32, kF64}) {
      for (int64_t channels : {1, 7, 21, 70}) {
        const double tolerance = dtype == kF32 ? 2e-4 : 1e-11;
        const NodeCase norm{&ops::kBatchNorm,
                            {{dtype, {9, channels}}, {dtype, {channels}}, {dtype, {channels}}},
                            {1e-3}};
        ExpectDecomposes(norm, RandomInputs(norm, 2), tolerance);
        const NodeCase pool =
            PoolNode({1, 5, 6, channels, {2, 3}, {1, 2}, {1, 0, 0, 1}}, ops::kMaxPool2d, dtype);
        ExpectDecomposes(pool, RandomInputs(pool, 2), 0);
        const NodeCase mean =
            PoolNode({1, 5, 6, channels, {2, 3}, {1, 2}, {1, 0, 0, 1}}, ops::kAvgPool2d, dtype);
        ExpectDecomposes(mean, RandomInputs(mean, 2), tolerance);
      }
    }
  }
  SetIsa(before);
}

}  // namespace
}  // namespace ostria::cpu
