// SPDX-License-Identifier: Apache-2.0
// How an engine is chosen and remembered.
#include <cstdlib>
#include <filesystem>

#include "backend/cuda/cache/cache_folder.h"
#include "backend/cuda/cache/disk_cache.h"
#include "backend/cuda/cudnn/nodes.h"
#include "backend/cuda/libraries/device_json.h"
#include "cudnn/real.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

namespace fs = std::filesystem;

using Ints = std::vector<int64_t>;

CudnnGraph ConvGraph(DType dtype, GraphOp op = GraphOp::kConvForward) {
  CudnnGraph g;
  const int64_t image = g.ChannelsLast(dtype, 8, 64, Ints{28, 28}),
                kernel = g.ChannelsLast(dtype, 64, 64, Ints{3, 3}),
                result = g.ChannelsLast(dtype, 8, 64, Ints{28, 28});
  GraphSettings s;
  s.low = s.high = s.stride = s.dilation = {1, 1};
  if (op == GraphOp::kConvForward) {
    g.Add(op, {{"x", image}, {"w", kernel}, {"y", result}}, s);
  } else {
    g.Add(op, {{"x", image}, {"dy", result}, {"dw", kernel}}, s);
  }
  return g;
}

int64_t Allowed(const std::vector<PlanOffer>& offers, std::string_view refusal = "") {
  int64_t n = 0;
  for (const PlanOffer& o : offers) n += o.refusal == refusal;
  return n;
}

TEST(CudnnGraph, TextSaysEverything) {
  const DeviceProps device;
  const TestNode node(ops::kConvFused,
                      {Ints{2, 1}, Ints{0, 1, 2, 3}, Ints{1, 2}, int64_t{2}, std::string("relu")},
                      {{DType::kBFloat16, {4, 9, 8, 6}},
                       {DType::kBFloat16, {10, 3, 2, 3}},
                       {DType::kBFloat16, {10}},
                       {DType::kBFloat16, {4, 4, 11, 10}}},
                      device);
  const CudnnNode d = DescribeConv(node.desc());
  EXPECT_EQ(d.graph.Text(),
            "1: bfloat16 [4, 6, 9, 8] by [432, 1, 48, 6]\n"
            "2: bfloat16 [10, 3, 3, 2] by [18, 1, 6, 3]\n"
            "3: bfloat16 [4, 10, 4, 11] by [440, 1, 110, 10]\n"
            "4: float32 [4, 10, 4, 11] by [440, 1, 110, 10] inside\n"
            "5: bfloat16 [1, 10, 1, 1] by [10, 1, 10, 10]\n"
            "6: bfloat16 [4, 10, 4, 11] by [440, 1, 110, 10]\n"
            "7: float32 [4, 10, 4, 11] by [440, 1, 110, 10] inside\n"
            "8: float32 [4, 10, 4, 11] by [440, 1, 110, 10] inside\n"
            "conv_forward x=1 w=2 y=4 low=[0, 2] high=[1, 3] stride=[2, 1] dilation=[1, 2]\n"
            "pointwise add x=4 b=6 y=7\n"
            "pointwise add x=7 b=5 y=8\n"
            "pointwise relu x=8 y=3\n");
  EXPECT_EQ(d.uids, (Ints{1, 2, 5, 6, 3}));
}

TEST(CudnnGraph, OneSpatialAxisBecomesTwo) {
  const DeviceProps device;
  const TestNode node(ops::kConvGradInput, {Ints{2}, Ints{1, 0}, Ints{3}, int64_t{1}, Shape{20}},
                      {{DType::kFloat32, {4, 8, 5}}, {DType::kFloat32, {5, 3, 7}}}, device);
  EXPECT_EQ(DescribeConv(node.desc()).graph.Text(),
            "1: float32 [4, 5, 1, 8] by [40, 1, 40, 5]\n"
            "2: float32 [5, 7, 1, 3] by [21, 1, 21, 7]\n"
            "3: float32 [4, 7, 1, 20] by [140, 1, 140, 7]\n"
            "conv_grad_input dy=1 w=2 dx=3 low=[0, 1] high=[0, 0] stride=[1, 2] dilation=[1, 3]\n");
}

TEST(CudnnDevice, OneWithoutADescriptionIsAnH100WithItsNumbers) {
  DeviceProps props = DeviceNamed("h100");
  props.description.clear();
  EXPECT_EQ(DeviceJson(props), DeviceFile("h100"));
  props.multiprocessors = 114;
  EXPECT_NE(DeviceJson(props).find("\"multiProcessorCount\":114"), std::string::npos);
}

TEST(CudnnPlan, LeavesOutWhatDiffersFromRunToRun) {
  OSTRIA_NEEDS_CUDNN();
  constexpr std::string_view kWhy = "its results differ from run to run";
  const std::string h100 = DeviceFile("h100");
  const CudnnGraph graph = ConvGraph(DType::kFloat32, GraphOp::kConvGradFilter);
  const auto strict = OffersFor(graph, h100, {}),
             any = OffersFor(graph, h100, {.deterministic = false});
  EXPECT_EQ(strict.size(), any.size());
  EXPECT_GE(Allowed(strict, kWhy), 1);
  EXPECT_EQ(Allowed(any, kWhy), 0);
  EXPECT_GE(Allowed(strict), 1);
}

TEST(CudnnPlan, RoundsFloat32ToTf32OnlyWhenAsked) {
  OSTRIA_NEEDS_CUDNN();
  constexpr std::string_view kWhy = "it rounds float32 to TF32";
  const std::string h100 = DeviceFile("h100");
  const CudnnGraph graph = ConvGraph(DType::kFloat32);
  EXPECT_GE(Allowed(OffersFor(graph, h100, {}), kWhy), 1);
  EXPECT_EQ(Allowed(OffersFor(graph, h100, {.tf32 = true}), kWhy), 0);
  EXPECT_EQ(Allowed(OffersFor(ConvGraph(DType::kFloat16), h100, {}), kWhy), 0);
}

TEST(CudnnPlan, KeepsToTheWorkspace) {
  OSTRIA_NEEDS_CUDNN();
  const CudnnGraph graph = ConvGraph(DType::kFloat32);
  const std::string h100 = DeviceFile("h100");
  EXPECT_GT(FindPlan(graph, h100, {})->workspace_bytes, 0);
  EXPECT_EQ(FindPlan(graph, h100, {.workspace_limit = 0})->workspace_bytes, 0);
}

TEST(CudnnPlan, WhatIsCompiledAtRunTimeComesLast) {
  OSTRIA_NEEDS_CUDNN();
  bool seen = false;
  for (const PlanOffer& o : OffersFor(ConvGraph(DType::kFloat16), DeviceFile("h100"), {})) {
    EXPECT_TRUE(o.runtime_compiled || !seen);
    seen = seen || o.runtime_compiled;
  }
  EXPECT_TRUE(seen);
}

TEST(CudnnPlan, RefusesInTheLibrarysWords) {
  OSTRIA_NEEDS_CUDNN();
  CudnnGraph g;
  const int64_t x = g.ChannelsLast(DType::kFloat16, 8, 64, Ints{28, 28}),
                w = g.ChannelsLast(DType::kFloat16, 64, 64, Ints{3, 3}),
                y = g.ChannelsLast(DType::kFloat16, 8, 64, Ints{9, 9});
  GraphSettings s;
  s.low = s.high = s.stride = s.dilation = {1, 1};
  g.Add(GraphOp::kConvForward, {{"x", x}, {"w", w}, {"y", y}}, s);
  EXPECT_NE(FindPlan(g, DeviceFile("h100"), {})->refusal.find("cuDNN: describing conv_forward"),
            std::string::npos);
}

TEST(CudnnPlan, IsKeptOnDiskUntilItIsDamaged) {
  OSTRIA_NEEDS_CUDNN();
  const std::string h100 = DeviceFile("h100");
  const CudnnGraph graph = ConvGraph(DType::kBFloat16);
  fs::remove_all(CacheFolder() + "/cudnn");
  ForgetPlans();
  const CudnnPlan cold = *FindPlan(graph, h100, {});
  fs::path file;
  for (const auto& entry : fs::recursive_directory_iterator(CacheFolder())) {
    if (entry.is_regular_file()) file = entry.path();
  }
  ASSERT_FALSE(file.empty());
  ForgetPlans();
  const auto written = fs::last_write_time(file);
  const CudnnPlan warm = *FindPlan(graph, h100, {});
  EXPECT_EQ(fs::last_write_time(file), written);
  EXPECT_EQ(warm.json, cold.json);
  EXPECT_EQ(warm.Detail(), cold.Detail());
  EXPECT_EQ(warm.workspace_bytes, cold.workspace_bytes);
  fs::resize_file(file, fs::file_size(file) - 1);
  ForgetPlans();
  EXPECT_EQ(FindPlan(graph, h100, {})->json, cold.json);
  EXPECT_GT(fs::last_write_time(file), written);
}

TEST(CudnnPlan, IsTheRecordedOneFromThenOn) {
  OSTRIA_NEEDS_CUDNN();
  const std::string h100 = DeviceFile("h100");
  const CudnnGraph graph = ConvGraph(DType::kFloat16, GraphOp::kConvGradFilter);
  const PlanOptions options;
  const CudnnPlan first = *FindPlan(graph, h100, options);
  EXPECT_EQ(first.rank, 0);
  const std::vector<CudnnPlan> plans = PlansToTime(graph, h100, options, first, 3);
  ASSERT_GE(plans.size(), 2u);
  for (const CudnnPlan& p : plans) EXPECT_LE(p.workspace_bytes, first.workspace_bytes);
  RecordChoice(graph, h100, options, plans[1]);
  for (int run = 0; run < 2; ++run) {
    const CudnnPlan chosen = *FindPlan(graph, h100, options);
    EXPECT_EQ(chosen.rank, plans[1].rank);
    EXPECT_EQ(chosen.json, plans[1].json);
    EXPECT_TRUE(PlansToTime(graph, h100, options, chosen, 3).empty());
    ForgetPlans();
  }
  // Another question has its own answer.
  EXPECT_EQ(FindPlan(graph, h100, {.workspace_limit = 1 << 20})->rank, 0);
}

TEST(CudnnPlan, TakesOperandsThatLieAnywhere) {
  OSTRIA_NEEDS_CUDNN();
  for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    const CudnnGraph graph = ConvGraph(dtype).Unaligned();
    EXPECT_NE(graph.Text().find(StrCat(" at ", SizeOf(dtype), "\n")), std::string::npos);
    EXPECT_EQ(FindPlan(graph, DeviceFile("h100"), {.workspace_limit = 256})->refusal, "");
  }
}

}  // namespace
}  // namespace ostria::cuda
