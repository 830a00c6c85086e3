// SPDX-License-Identifier: Apache-2.0
// What cuDNN has for single normalisations and pools: engines that are compiled at run time. The
// backend has kernels of its own for them; this holds the descriptions to what the library takes.
#include "cudnn/real.h"

namespace ostria::cuda {
namespace {

using Ints = std::vector<int64_t>;

constexpr DType kFloat = DType::kFloat32;

// x, y and per-channel or per-row tensors of a normalisation, forward or backward.
CudnnGraph Norm(std::string_view mode, DType dtype, bool back) {
  CudnnGraph g;
  const bool batch = mode == "batch", rms = mode == "rms";
  const auto image = [&] {
    return batch ? g.ChannelsLast(dtype, 64, 64, Ints{28, 28})
                 : g.ChannelsLast(dtype, 8192, 768, Ints{1, 1});
  };
  const auto channels = [&] { return g.PerChannel(kFloat, batch ? 64 : 768); };
  const auto statistics = [&] {
    return batch ? channels() : g.Tensor(kFloat, {8192, 1, 1, 1}, {1, 1, 1, 1});
  };
  const int64_t x = image(), scale = channels(), rstd = statistics();
  std::vector<std::pair<std::string_view, int64_t>> t = {
      {"x", x}, {"scale", scale}, {"rstd", rstd}};
  if (!rms) t.emplace_back("mean", statistics());
  if (back) {
    t.emplace_back("dy", image());
    t.emplace_back("dx", image());
    t.emplace_back("dscale", channels());
    if (!rms) t.emplace_back("dbias", channels());
  } else {
    t.emplace_back("epsilon", g.Scalar(kFloat, 1e-5, 4));
    t.emplace_back("y", image());
    if (!rms) t.emplace_back("bias", channels());
  }
  g.Add(back ? GraphOp::kNormGrad : GraphOp::kNormForward, std::move(t), {.mode = mode});
  return g;
}

CudnnGraph Pool(std::string_view mode, DType dtype) {
  CudnnGraph g;
  const int64_t x = g.ChannelsLast(dtype, 64, 64, Ints{112, 112}),
                y = g.ChannelsLast(dtype, 64, 64, Ints{56, 56});
  std::vector<std::pair<std::string_view, int64_t>> t = {{"x", x}, {"y", y}};
  if (mode == "max") t.emplace_back("index", g.ChannelsLast(DType::kInt8, 64, 64, Ints{56, 56}));
  g.Add(GraphOp::kPoolForward, std::move(t),
        {.mode = mode, .size = {3, 3}, .low = {1, 1}, .high = {1, 1}, .stride = {2, 2}});
  return g;
}

CudnnGraph PoolGrad(DType dtype) {
  CudnnGraph g;
  const int64_t dy = g.ChannelsLast(dtype, 64, 64, Ints{56, 56}),
                index = g.ChannelsLast(DType::kInt8, 64, 64, Ints{56, 56}),
                dx = g.ChannelsLast(dtype, 64, 64, Ints{112, 112});
  g.Add(GraphOp::kPoolGrad, {{"dy", dy}, {"index", index}, {"dx", dx}},
        {.mode = "max", .size = {3, 3}, .low = {1, 1}, .high = {1, 1}, .stride = {2, 2}});
  return g;
}

TEST(CudnnOperations, NormalisationsAndPoolsAreCompiledAtRunTime) {
  OSTRIA_NEEDS_CUDNN();
  const DeviceProps device = DeviceNamed("h100");
  std::string table;
  const auto line = [&](DType dtype, std::string_view name, const CudnnGraph& g) {
    table += StrCat(dtype, " ", name, ": ", PlanOf(g, device), "\n");
  };
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
    for (const std::string_view mode : {"batch", "layer", "rms"}) {
      line(dtype, StrCat(mode, " forward"), Norm(mode, dtype, false));
      line(dtype, StrCat(mode, " gradient"), Norm(mode, dtype, true));
    }
    line(dtype, "max pool", Pool("max", dtype));
    line(dtype, "max pool gradient", PoolGrad(dtype));
    line(dtype, "average pool", Pool("average", dtype));
  }
  EXPECT_EQ(table.find("no:"), std::string::npos) << table;
  ExpectGolden("operations", table);
}

}  // namespace
}  // namespace ostria::cuda
