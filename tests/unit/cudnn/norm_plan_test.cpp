// SPDX-License-Identifier: Apache-2.0
// Whole plans of residual blocks in float16, with cuDNN's real answers: which nodes they are, and
// how often they pass over memory.
#include <algorithm>
#include <map>

#include "autodiff/gradient.h"
#include "backend/backend.h"
#include "cudnn/real.h"
#include "ir/builder.h"
#include "ops/ops.h"
#include "runtime/plan.h"

namespace ostria {

Backend* CudaBackend();

namespace cuda {
namespace {

using Ints = std::vector<int64_t>;
constexpr DType kHalf = DType::kFloat16;
constexpr int64_t kBatch = 64;

struct Block {
  Graph g;
  Builder b{g, 0};
  std::vector<Value> wrt;

  Value Given(DType dtype, const Shape& shape) {
    wrt.push_back(g.AddInput(StrCat("x", g.inputs().size()), {dtype, shape}, 0));
    return wrt.back();
  }
  Value Conv(Value x, int64_t in, int64_t out, int64_t window, int64_t stride = 1) {
    const Value w = Given(kHalf, {out, window, window, in});
    return b(ops::kConv2d, {x, w}, {Ints(2, stride), Ints(4, window / 2), Ints(2, 1), int64_t{1}});
  }
  Value Norm(Value x) {
    const Shape channels = {g.shape(x)[3]};
    const Value scale = Given(DType::kFloat32, channels), bias = Given(DType::kFloat32, channels);
    const auto norm = b.Multi(ops::kBatchNorm, {x, scale, bias}, {1e-5});
    for (size_t i : {1, 2}) g.AddOutput(StrCat("s", g.outputs().size()), norm[i]);
    return norm[0];
  }
  Value Relu(Value x) { return b(ops::kRelu, {x}); }
  // Adds y and the gradients by what was given after the first value, which is wanted too if
  // `whole`.
  Graph Finish(Value y, bool whole) {
    const Value outputs[] = {y};
    const Value cotangents[] = {g.AddInput("dy", g.type(y), 0)};
    g.AddOutput("y", y);
    if (!whole) wrt.erase(wrt.begin());
    for (Value v : Gradients(g, outputs, cotangents, wrt)) {
      g.AddOutput(StrCat("d", g.outputs().size()), v);
    }
    return std::move(g);
  }
};

std::shared_ptr<const Plan> PlanFor(const Graph& g, std::string_view device) {
  [[maybe_unused]] static const bool once = [] {
    RegisterBackend(CudaBackend());
    return true;
  }();
  ostria::PlanOptions options;
  options.device = DeviceNamed(device);
  return MakePlan(g, options);
}

std::map<std::string, int> CountSteps(const Plan& plan) {
  std::map<std::string, int> count;
  for (const Step& s : plan.steps) ++count[std::string(plan.graph.op(s.node).name)];
  return count;
}

// Of the stage of 56 x 56, whose shortcut is its input.
Graph Bottleneck() {
  Block k;
  const Value x = k.Given(kHalf, {kBatch, 56, 56, 256});
  Value y = k.Relu(k.Norm(k.Conv(x, 256, 64, 1)));
  y = k.Relu(k.Norm(k.Conv(y, 64, 64, 3)));
  y = k.Norm(k.Conv(y, 64, 256, 1));
  return k.Finish(k.Relu(k.b(ops::kAdd, {y, x})), true);
}

TEST(CudnnNormPlan, ABottleneckStoresWhatConvolutionsGive) {
  OSTRIA_NEEDS_CUDNN();
  const Graph g = Bottleneck();
  for (const std::string_view device : {"h100", "h200"}) {
    const auto plan = PlanFor(g, device);
    auto steps = CountSteps(*plan);
    EXPECT_EQ(steps["conv_stats"], 3);
    EXPECT_EQ(steps["conv_grad_filter_norm"], 2);
    EXPECT_EQ(steps["conv_grad_input_norm"], 2);
    EXPECT_EQ(steps["conv_grad_filter"], 1);
    EXPECT_EQ(steps["conv_grad_input"], 1);
    for (const char* name : {"conv2d", "batch_norm", "batch_norm_grad", "batch_norm_stats", "cast",
                             "relu", "relu_grad"}) {
      EXPECT_EQ(steps[name], 0) << name;
    }
    // Wide images are read or written 19 times, those of a quarter of their channels 20 times;
    // kernels and numbers of channels are less than one more.
    const int64_t wide = kBatch * 56 * 56 * 256 * 2;
    EXPECT_LE(plan->stats.moved_bytes, (19 + 20 / 4 + 1) * wide) << Print(*plan);
  }
}

TEST(CudnnNormPlan, AStemHasEightChannels) {
  OSTRIA_NEEDS_CUDNN();
  Block k;
  const Value image = k.Given(DType::kFloat32, {kBatch, 224, 224, 3});
  const Value x = k.b(ops::kCast, {image}, {kHalf});
  const Value w = k.Given(kHalf, {64, 7, 7, 3});
  const Value y = k.b(ops::kConv2d, {x, w}, {Ints{2, 2}, Ints(4, 3), Ints{1, 1}, int64_t{1}});
  const auto plan = PlanFor(k.Finish(k.Relu(k.Norm(y)), false), "h100");
  auto steps = CountSteps(*plan);
  EXPECT_EQ(steps["pad_channels"], 2);
  EXPECT_EQ(steps["conv_grad_input"], 0);
  EXPECT_EQ(steps["cast"], 0);
  for (const Step& s : plan->steps) {
    if (!plan->graph.is(s.node, ops::kConv2d)) continue;
    EXPECT_LT(s.state->workspace_bytes, 1 << 20);
  }
}

// What is not a multiple of 8 elsewhere is padded for the convolution and for its kernel's
// gradient; groups are left alone.
TEST(CudnnNormPlan, OddChannelsHavePlans) {
  OSTRIA_NEEDS_CUDNN();
  for (const DType dtype : {kHalf, DType::kBFloat16}) {
    for (const int64_t channels : {1, 3, 5, 12, 20}) {
      Graph g;
      Builder b(g, 0);
      const Value x = g.AddInput("x", {dtype, {4, 14, 14, channels}}, 0);
      const Value w = g.AddInput("w", {dtype, {10, 3, 3, channels}}, 0);
      const Value y = b(ops::kConv2d, {x, w}, {Ints{1, 1}, Ints(4, 1), Ints{1, 1}, int64_t{1}});
      const Value outputs[] = {y}, wrt[] = {x, w};
      for (Value v : Gradients(g, outputs, {}, wrt)) {
        g.AddOutput(StrCat("d", g.outputs().size()), v);
      }
      g.AddOutput("y", y);
      const auto plan = PlanFor(g, "h100");
      for (const Step& s : plan->steps) {
        if (!plan->graph.op(s.node).name.starts_with("conv")) continue;
        EXPECT_EQ(s.kernel->impl, "cudnn") << Print(*plan);
      }
      EXPECT_GE(CountSteps(*plan)["pad_channels"], 2) << Print(*plan);
    }
  }
}

// At inference scale and shift are the kernel's and a bias, and the shortcut is added in place.
TEST(CudnnNormPlan, ResidualSumsAreTheConvolutions) {
  OSTRIA_NEEDS_CUDNN();
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {kHalf, {8, 28, 28, 64}}, 0);
  const Value z = g.AddInput("z", {kHalf, {8, 28, 28, 256}}, 0);
  const Value w = g.AddState(1, "w", {kHalf, {256, 1, 1, 64}}, 0);
  const Value factor = g.AddState(2, "f", {kHalf, {256}}, 0);
  const Value shift = g.AddState(3, "s", {kHalf, {256}}, 0);
  Value y = b(ops::kConv2d, {x, w}, {Ints{1, 1}, Ints(4, 0), Ints{1, 1}, int64_t{1}});
  y = b(ops::kAdd, {b(ops::kMultiply, {y, factor}), shift});
  g.AddOutput("y", b(ops::kRelu, {b(ops::kAdd, {y, z})}));
  const auto plan = PlanFor(g, "h100");
  ASSERT_EQ(static_cast<int>(plan->steps.size()) - plan->num_kept, 1) << Print(*plan);
  const Step& last = plan->steps.back();
  EXPECT_TRUE(plan->graph.is(last.node, ops::kConvFused));
  EXPECT_EQ(last.num_inputs, 4);
  EXPECT_EQ(last.kernel->impl, "cudnn");
}

// What cuDNN refuses to join, as float32 where operands must not be rounded, stays for one loop.
TEST(CudnnNormPlan, WhatIsNotTakenIsNotJoined) {
  OSTRIA_NEEDS_CUDNN();
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {DType::kFloat32, {8, 28, 28, 64}}, 0);
  const Value w = g.AddInput("w", {DType::kFloat32, {64, 3, 3, 64}}, 0);
  const Value bias = g.AddInput("b", {DType::kFloat32, {64}}, 0);
  const Value y = b(ops::kConv2d, {x, w}, {Ints{1, 1}, Ints(4, 1), Ints{1, 1}, int64_t{1}});
  g.AddOutput("y", b(ops::kRelu, {b(ops::kAdd, {y, bias})}));
  const auto plan = PlanFor(g, "h100");
  auto steps = CountSteps(*plan);
  EXPECT_EQ(steps["conv2d"] + steps["conv_fused"], 1) << Print(*plan);
  EXPECT_LE(plan->steps.size(), 2U) << Print(*plan);
  for (const std::string& line : plan->report) {
    EXPECT_EQ(line.find("made of simpler ops"), std::string::npos) << line;
  }
}

}  // namespace
}  // namespace cuda
}  // namespace ostria
