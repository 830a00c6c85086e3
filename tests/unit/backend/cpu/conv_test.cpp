// SPDX-License-Identifier: Apache-2.0
// Convolutions: every implementation against loops in double, decompositions, derivatives,
// messages.
#include "backend/cpu/kernels.h"
#include "ops/ops.h"
#include "tests/unit/backend/cpu/evaluate.h"
#include "tests/unit/backend/cpu/isa_test_util.h"

namespace ostria::cpu {
namespace {

using Ints = std::vector<int64_t>;

struct Geometry {
  int64_t n, h, w, c, o, kh, kw;
  Ints strides = {1, 1}, padding = {0, 0, 0, 0}, dilation = {1, 1};
  int64_t groups = 1;
};

const Geometry kGrid[] = {
    {2, 9, 11, 3, 5, 3, 3},
    {1, 28, 28, 1, 32, 3, 3},
    {2, 14, 14, 32, 64, 3, 3, {1, 1}, {1, 1, 1, 1}},
    {2, 8, 8, 16, 16, 1, 1},
    {1, 13, 7, 7, 9, 5, 3, {2, 1}, {2, 1, 0, 2}},
    {2, 12, 12, 4, 8, 3, 3, {1, 1}, {2, 2, 2, 2}, {2, 2}},
    {1, 11, 9, 6, 12, 3, 2, {2, 2}, {1, 0, 1, 1}, {1, 2}, 3},
    {2, 10, 10, 8, 8, 3, 3, {1, 1}, {1, 1, 1, 1}, {1, 1}, 8},
    {3, 4, 4, 2, 3, 4, 4},
    {1, 7, 7, 5, 4, 2, 2, {3, 3}},
};

int64_t Count(int64_t size, int64_t low, int64_t high, int64_t k, int64_t dilation,
              int64_t stride) {
  return (size + low + high - dilation * (k - 1) - 1) / stride + 1;
}

NodeCase Make(const Geometry& s, const OpDef& op, DType dtype) {
  const Shape image = {s.n, s.h, s.w, s.c}, kernel = {s.o, s.kh, s.kw, s.c / s.groups};
  const Shape result = {
      s.n, Count(s.h, s.padding[0], s.padding[1], s.kh, s.dilation[0], s.strides[0]),
      Count(s.w, s.padding[2], s.padding[3], s.kw, s.dilation[1], s.strides[1]), s.o};
  NodeCase node{&op, {}, {s.strides, s.padding, s.dilation, s.groups}};
  if (&op == &ops::kConvGradInput) {
    node.inputs = {{dtype, result}, {dtype, kernel}};
    node.attrs.push_back(Shape{s.h, s.w});
  } else if (&op == &ops::kConvGradFilter) {
    node.inputs = {{dtype, image}, {dtype, result}};
    node.attrs.push_back(Shape{s.kh, s.kw});
  } else {
    node.inputs = {{dtype, image}, {dtype, kernel}};
  }
  return node;
}

// Calls fn(image index, kernel index, result index) for every product.
template <class Fn>
void ForProducts(const Geometry& s, Fn fn) {
  const int64_t oh = Count(s.h, s.padding[0], s.padding[1], s.kh, s.dilation[0], s.strides[0]);
  const int64_t ow = Count(s.w, s.padding[2], s.padding[3], s.kw, s.dilation[1], s.strides[1]);
  const int64_t ci = s.c / s.groups, co = s.o / s.groups;
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t y = 0; y < oh; ++y)
      for (int64_t x = 0; x < ow; ++x)
        for (int64_t o = 0; o < s.o; ++o)
          for (int64_t i = 0; i < s.kh; ++i)
            for (int64_t j = 0; j < s.kw; ++j) {
              const int64_t h = y * s.strides[0] - s.padding[0] + i * s.dilation[0];
              const int64_t w = x * s.strides[1] - s.padding[2] + j * s.dilation[1];
              if (h < 0 || w < 0 || h >= s.h || w >= s.w) continue;
              for (int64_t c = 0; c < ci; ++c) {
                fn(((n * s.h + h) * s.w + w) * s.c + o / co * ci + c,
                   ((o * s.kh + i) * s.kw + j) * ci + c, ((n * oh + y) * ow + x) * s.o + o);
              }
            }
}

Reference ReferenceOf(const Geometry& s) {
  return [s](const NodeCase& node, const Values& in) -> Values {
    std::vector<double> out(node.outputs()[0].shape.numel());
    ForProducts(s, [&](int64_t image, int64_t kernel, int64_t result) {
      if (node.op == &ops::kConvGradInput) {
        out[image] += in[0][result] * in[1][kernel];
      } else if (node.op == &ops::kConvGradFilter) {
        out[kernel] += in[0][image] * in[1][result];
      } else {
        out[result] += in[0][image] * in[1][kernel];
      }
    });
    if (node.op == &ops::kConvFused) {
      for (size_t i = 0; i < out.size(); ++i) {
        if (in.size() == 3) out[i] += in[2][i % in[2].size()];
        const auto& activation = std::get<std::string>(node.attrs[4]);
        if (activation == "relu") out[i] = std::max(0.0, out[i]);
        if (activation == "tanh") out[i] = std::tanh(out[i]);
      }
    }
    return {out};
  };
}

TEST(Conv2d, EveryImplementation) {
  for (const OpDef* op : {&ops::kConv2d, &ops::kConvGradInput, &ops::kConvGradFilter}) {
    for (size_t i = 0; i < std::size(kGrid); ++i) {
      SCOPED_TRACE(StrCat(op->name, " of grid row ", i));
      const NodeCase node = Make(kGrid[i], *op, DType::kFloat32);
      const auto ran =
          Conform(ConvKernels(), node, RandomInputs(node, 3), ReferenceOf(kGrid[i]), 2e-4);
      EXPECT_TRUE(ran.contains("onednn"));
      EXPECT_TRUE(ran.contains("direct"));
      const NodeCase wide = Make(kGrid[i], *op, DType::kFloat64);
      Conform(ConvKernels(), wide, RandomInputs(wide, 3), ReferenceOf(kGrid[i]), 1e-11);
    }
  }
}

const ImplRun& RunOf(const std::vector<ImplRun>& runs, const std::string& impl) {
  for (const ImplRun& run : runs) {
    if (run.impl == impl) return run;
  }
  ADD_FAILURE() << "no implementation is called " << impl;
  return runs.front();
}

// One implementation under every instruction set: near the reference, with the same bits on any
// number of threads.
void ExpectOwn(const Geometry& s, const OpDef& op, const std::string& impl) {
  const NodeCase node = Make(s, op, DType::kFloat32);
  const Values inputs = RandomInputs(node, 5);
  const Values want = ReferenceOf(s)(node, inputs);
  SCOPED_TRACE(StrCat(op.name, " of ", s.h, " x ", s.w, " by ", s.kh, " x ", s.kw));
  ForEachIsa([&] {
    const bool scalar = CurrentIsa() == Isa::kBaseline;
    Values first;
    for (int threads : {1, 2, 3}) {
      const auto runs = RunAll(ConvKernels(), node, inputs, threads);
      const ImplRun& run = RunOf(runs, impl);
      ASSERT_EQ(run.ran, !scalar) << run.reason;
      if (scalar) continue;
      ExpectNear(run.outputs[0], want[0], 5e-4, StrCat(threads, " threads"));
      if (threads == 1) first = run.outputs;
      EXPECT_EQ(run.outputs, first) << threads << " threads give other bits than one";
    }
  });
}

// Why the implementation does not take the node; empty where it does.
std::string WhyNot(const Geometry& s, const OpDef& op, const std::string& impl,
                   DType dtype = DType::kFloat32) {
  const NodeCase node = Make(s, op, dtype);
  return RunOf(RunAll(ConvKernels(), node, RandomInputs(node, 5), 1), impl).reason;
}

TEST(ConvGradFilter, TilesOfEveryInstructionSet) {
  const Geometry grid[] = {
      {5, 9, 11, 40, 13, 3, 3, {1, 1}, {1, 1, 1, 1}},          // tails of channels and filters
      {1, 41, 43, 64, 8, 3, 3, {1, 1}, {1, 1, 1, 1}},          // several blocks of lines
      {9, 14, 14, 96, 8, 3, 3, {1, 1}, {1, 1, 1, 1}},          // of images, and chunks of channels
      {2, 15, 12, 32, 16, 5, 4, {2, 3}, {2, 1, 0, 2}},         // strides, uneven borders
      {2, 12, 12, 32, 8, 3, 3, {1, 1}, {3, 3, 3, 3}, {2, 3}},  // dilation
      {1, 40, 90, 32, 8, 7, 2, {3, 1}, {0, 5, 1, 0}},
      {3, 2, 2, 32, 8, 3, 3, {1, 1}, {1, 1, 1, 1}},  // no column sees a whole window
      {2, 1, 9, 32, 8, 1, 9, {1, 1}, {0, 0, 8, 8}},
      {1, 3, 3, 32, 8, 3, 3, {1, 1}, {4, 4, 4, 4}},  // places that see nothing
  };
  for (const Geometry& s : grid) ExpectOwn(s, ops::kConvGradFilter, "tiles");
}

TEST(ConvGradFilter, TilesSayWhyNot) {
  if (BestIsa() == Isa::kBaseline) GTEST_SKIP() << "this CPU has no AVX2";
  const auto reason = [](const Geometry& s, DType dtype = DType::kFloat32) {
    return WhyNot(s, ops::kConvGradFilter, "tiles", dtype);
  };
  EXPECT_EQ(reason({1, 8, 8, 32, 8, 3, 3}), "");
  EXPECT_EQ(reason({1, 8, 8, 32, 8, 3, 3}, DType::kFloat64), "is for float32, not float64");
  EXPECT_EQ(reason({1, 8, 8, 32, 8, 3, 1}), "is for windows wider than 1");
  EXPECT_EQ(reason({1, 8, 8, 64, 16, 3, 3, {1, 1}, {0, 0, 0, 0}, {1, 1}, 2}),
            "is for one group, not 2");
  EXPECT_TRUE(reason({1, 8, 8, 3, 8, 3, 3}).ends_with("at least two, not 3"));
  EXPECT_TRUE(reason({1, 8, 8, 32, 1, 3, 3}).starts_with("wants filters in tiles of "));
}

TEST(Conv2d, PlacesOfEveryInstructionSet) {
  const Geometry grid[] = {
      {8, 4, 4, 128, 128, 3, 3, {1, 1}, {1, 1, 1, 1}},
      {6, 8, 5, 130, 135, 3, 3, {2, 2}, {1, 1, 1, 1}},          // tails, a group of six
      {14, 3, 2, 128, 128, 2, 5, {1, 1}, {1, 2, 3, 3}},         // windows wider than the image
      {7, 5, 8, 128, 136, 3, 2, {3, 1}, {2, 0, 1, 1}, {2, 3}},  // strides and dilation
      {15, 1, 1, 128, 128, 3, 3, {1, 1}, {1, 1, 1, 1}},
  };
  for (const Geometry& s : grid) {
    for (const OpDef* op : {&ops::kConv2d, &ops::kConvGradInput}) ExpectOwn(s, *op, "places");
  }
  ExpectOwn({8, 8, 8, 128, 128, 1, 1, {2, 2}}, ops::kConvGradInput, "places");  // leaves gaps
}

TEST(Conv2d, PlacesSayWhyNot) {
  if (BestIsa() == Isa::kBaseline) GTEST_SKIP() << "this CPU has no AVX2";
  const auto reason = [](const Geometry& s, DType dtype = DType::kFloat32) {
    return WhyNot(s, ops::kConv2d, "places", dtype);
  };
  EXPECT_EQ(reason({8, 4, 4, 128, 128, 2, 2}), "");
  EXPECT_EQ(reason({8, 4, 4, 128, 128, 2, 2}, DType::kFloat64), "is for float32, not float64");
  EXPECT_EQ(reason({8, 4, 4, 256, 128, 2, 2, {1, 1}, {0, 0, 0, 0}, {1, 1}, 2}),
            "is for one group, not 2");
  EXPECT_EQ(reason({8, 9, 8, 128, 128, 2, 2}),
            "is for images of at most 64 places and results of fewer");
  EXPECT_EQ(reason({8, 8, 8, 128, 128, 3, 3, {1, 1}, {1, 1, 1, 1}}),
            "is for images of at most 64 places and results of fewer");
  EXPECT_EQ(reason({8, 4, 4, 128, 64, 2, 2}), "is for at least 128 channels and filters");
  EXPECT_EQ(reason({8, 4, 4, 128, 128, 1, 1}),
            "is for windows of several elements, where it goes forward");
  EXPECT_TRUE(reason({1, 4, 4, 128, 128, 2, 2}).starts_with("wants images in groups of "));
}

TEST(Conv2d, WinogradOfEveryInstructionSet) {
  const Geometry grid[] = {
      {2, 14, 14, 32, 64, 3, 3, {1, 1}, {1, 1, 1, 1}},
      {3, 13, 11, 37, 67, 3, 3, {1, 1}, {1, 0, 2, 1}},  // tails, half tiles, uneven borders
      {1, 34, 35, 64, 48, 3, 3},                        // blocks of tiles, no border
      {70, 3, 3, 130, 32, 3, 3, {1, 1}, {1, 1, 1, 1}},  // chunks of channels
      {5, 18, 17, 40, 56, 3, 3, {1, 1}, {4, 3, 0, 5}},  // places that see nothing
  };
  for (const Geometry& s : grid) {
    for (const OpDef* op : {&ops::kConv2d, &ops::kConvGradInput, &ops::kConvGradFilter}) {
      ExpectOwn(s, *op, "winograd");
    }
  }
}

double RootMeanSquare(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum / static_cast<double>(a.size()));
}

// Fewer sums of more terms each: within a small factor of direct sums.
TEST(Conv2d, WinogradIsAsAccurateAsDirectSums) {
  if (BestIsa() == Isa::kBaseline) GTEST_SKIP() << "this CPU has no AVX2";
  const Geometry s = {4, 16, 16, 128, 32, 3, 3, {1, 1}, {1, 1, 1, 1}};
  for (const OpDef* op : {&ops::kConv2d, &ops::kConvGradInput, &ops::kConvGradFilter}) {
    SCOPED_TRACE(op->name);
    const NodeCase node = Make(s, *op, DType::kFloat32);
    const Values inputs = RandomInputs(node, 7);
    const Values want = ReferenceOf(s)(node, inputs);
    const auto runs = RunAll(ConvKernels(), node, inputs, 1);
    const double own = RootMeanSquare(RunOf(runs, "winograd").outputs[0], want[0]);
    const double direct = RootMeanSquare(RunOf(runs, "direct").outputs[0], want[0]);
    EXPECT_GT(own, 0);
    EXPECT_LT(own, 1.5 * direct);
  }
}

TEST(Conv2d, WinogradSaysWhyNot) {
  if (BestIsa() == Isa::kBaseline) GTEST_SKIP() << "this CPU has no AVX2";
  const auto reason = [](const Geometry& s, const OpDef& op = ops::kConv2d,
                         DType dtype = DType::kFloat32) {
    return WhyNot(s, op, "winograd", dtype);
  };
  EXPECT_EQ(reason({2, 14, 14, 32, 64, 3, 3}), "");
  EXPECT_EQ(reason({2, 14, 14, 32, 64, 3, 3}, ops::kConv2d, DType::kFloat64),
            "is for float32, not float64");
  EXPECT_EQ(reason({2, 14, 14, 32, 64, 3, 2}), "is for windows of 3 x 3");
  EXPECT_EQ(reason({2, 29, 29, 32, 64, 3, 3, {2, 1}}), "is for stride 1");
  EXPECT_EQ(reason({2, 29, 29, 32, 64, 3, 3, {1, 1}, {0, 0, 0, 0}, {1, 2}}), "is for dilation 1");
  EXPECT_EQ(reason({2, 14, 14, 64, 64, 3, 3, {1, 1}, {0, 0, 0, 0}, {1, 1}, 2}),
            "is for one group, not 2");
  EXPECT_EQ(reason({2, 14, 14, 16, 64, 3, 3}), "is for at least 32 channels and filters");
  EXPECT_EQ(reason({1, 9, 8, 64, 64, 3, 3}),
            "is for more results than 42 of 7 x 6 in tiles of 2 x 2");
  // Transforming a large kernel wants more results.
  EXPECT_EQ(reason({1, 22, 22, 128, 128, 3, 3}), "");
  EXPECT_NE(reason({1, 22, 22, 128, 160, 3, 3}), "");
  EXPECT_EQ(reason({1, 22, 22, 128, 160, 3, 3}, ops::kConvGradFilter), "");
  EXPECT_EQ(reason({4, 22, 22, 32, 32, 3, 3}, ops::kConvGradFilter),
            "is for more channels and filters");
  NodeCase tanh = Make({2, 14, 14, 32, 64, 3, 3}, ops::kConvFused, DType::kFloat32);
  tanh.attrs.push_back(std::string("tanh"));
  const auto runs = RunAll(ConvKernels(), tanh, RandomInputs(tanh, 5), 1);
  EXPECT_EQ(RunOf(runs, "winograd").reason, "does relu, not tanh");
}

TEST(Conv2d, FusedBiasAndActivation) {
  for (const char* activation : {"none", "relu", "tanh"}) {
    for (bool bias : {false, true}) {
      NodeCase node = Make(kGrid[2], ops::kConvFused, DType::kFloat32);
      node.attrs.push_back(std::string(activation));
      if (bias) node.inputs.push_back({DType::kFloat32, {kGrid[2].o}});
      Conform(ConvKernels(), node, RandomInputs(node, 3), ReferenceOf(kGrid[2]), 2e-4);
      ExpectDecomposes(node, RandomInputs(node, 3), 2e-4);
    }
  }
}

TEST(Conv2d, Decompositions) {
  for (const OpDef* op : {&ops::kConv2d, &ops::kConvGradInput, &ops::kConvGradFilter}) {
    for (const Geometry& s : {kGrid[0], kGrid[4], kGrid[5], kGrid[6], kGrid[9]}) {
      const NodeCase node = Make(s, *op, DType::kFloat64);
      ExpectDecomposes(node, RandomInputs(node, 4), 1e-11);
    }
    const NodeCase half = Make(kGrid[0], *op, DType::kBFloat16);
    const auto outputs =
        EvaluateNode(*op, half.attrs, ToTensors(half, RandomInputs(half, 4)), false);
    EXPECT_EQ(outputs[0].dtype(), DType::kBFloat16);
  }
}

TEST(Conv2d, Gradients) {
  const Geometry small = {2, 6, 5, 4, 6, 3, 2, {2, 1}, {1, 0, 1, 1}, {1, 2}, 2};
  for (const OpDef* op : {&ops::kConv2d, &ops::kConvGradInput, &ops::kConvGradFilter}) {
    const NodeCase node = Make(small, *op, DType::kFloat64);
    for (int order : {1, 2}) ExpectGradients(node, RandomInputs(node, 8), order);
  }
}

std::string MessageOf(const NodeCase& node) {
  try {
    node.outputs();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(Conv2d, Messages) {
  NodeCase node = Make(kGrid[0], ops::kConv2d, DType::kFloat32);
  node.inputs[1].shape = {5, 3, 3, 4};
  EXPECT_EQ(
      MessageOf(node),
      "conv2d: image [2, 9, 11, 3] has 3 channels, but kernel [5, 3, 3, 4] with groups=1 reads 4; "
      "kernels are laid out [out, height, width, in / groups]");
  node = Make(kGrid[0], ops::kConv2d, DType::kFloat32);
  node.inputs[0].shape = {2, 2, 11, 3};
  EXPECT_EQ(
      MessageOf(node),
      "conv2d: a window of height 3 does not fit into height 2 of input [2, 2, 11, 3] padded by 0 "
      "and 0; use a smaller window or padding \"same\"");
  node = Make(kGrid[0], ops::kConv2d, DType::kFloat32);
  node.attrs[0] = Ints{0, 1};
  EXPECT_EQ(MessageOf(node), "conv2d: strides must be 2 integers of at least 1, but is (0, 1)");
}

}  // namespace
}  // namespace ostria::cpu
