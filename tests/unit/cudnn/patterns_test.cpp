// SPDX-License-Identifier: Apache-2.0
// The fused batch-normalisation graphs of ResNet-50 have engines that come with the library, in
// float16; in bfloat16 none that come with it.
#include "backend/cuda/cudnn/patterns.h"

#include "cudnn/real.h"

namespace ostria::cuda {
namespace {

ConvShape Square(int64_t image, int64_t in, int64_t out, int64_t kernel, int64_t stride,
                 DType dtype = DType::kFloat16) {
  return {.dtype = dtype,
          .n = 64,
          .in = in,
          .out = out,
          .image = {image, image},
          .kernel = {kernel, kernel},
          .stride = {stride, stride},
          .padding = {kernel / 2, kernel / 2}};
}

std::string Lines(const ConvShape& c, const DeviceProps& device) {
  const std::string head = StrCat(c.dtype, " ", c.kernel[0], "x", c.kernel[0], "/", c.stride[0],
                                  " ", c.in, "->", c.out, " of ", c.image[0], "x", c.image[0]);
  std::string out;
  const auto line = [&](std::string_view name, const Pattern& p) {
    out += StrCat(head, " ", name, ": ", PlanOf(p.graph, device), "\n");
  };
  line("conv, stats", ConvStats(c));
  line("norm, relu, conv, stats", NormReluConvStats(c));
  line("norm, relu, filter", NormReluConvGradFilter(c));
  line("input, relu, norm", ConvGradInputReluNormGrad(c));
  return out;
}

void ExpectPatterns(std::string_view name) {
  const DeviceProps device = DeviceNamed(name);
  std::string table;
  for (const ConvShape& c :
       {Square(56, 64, 64, 1, 1), Square(56, 64, 64, 3, 1), Square(56, 64, 256, 1, 1),
        Square(56, 256, 64, 1, 1), Square(56, 256, 128, 1, 1), Square(56, 128, 128, 3, 2),
        Square(28, 128, 512, 1, 1), Square(56, 256, 512, 1, 2), Square(28, 512, 128, 1, 1),
        Square(28, 128, 128, 3, 1), Square(28, 256, 256, 3, 2), Square(14, 256, 1024, 1, 1),
        Square(14, 1024, 256, 1, 1), Square(14, 256, 256, 3, 1), Square(14, 512, 512, 3, 2),
        Square(7, 512, 2048, 1, 1), Square(7, 2048, 512, 1, 1), Square(7, 512, 512, 3, 1)}) {
    table += Lines(c, device);
  }
  for (const int64_t channels : {64, 256, 2048}) {
    table += StrCat("statistics of ", channels,
                    " channels: ", PlanOf(FinishStats(channels, 64 * 49, 1e-5, 0.1).graph, device),
                    "\n");
  }
  EXPECT_EQ(table.find("no:"), std::string::npos) << table;
  ExpectGolden(StrCat("patterns_", name), table);
}

TEST(CudnnPatterns, PlanResNet50OnH100) {
  OSTRIA_NEEDS_CUDNN();
  ExpectPatterns("h100");
}

TEST(CudnnPatterns, PlanResNet50OnH200) {
  OSTRIA_NEEDS_CUDNN();
  ExpectPatterns("h200");
}

TEST(CudnnPatterns, HaveNoEnginesOfTheLibrarysInBFloat16) {
  OSTRIA_NEEDS_CUDNN();
  const DeviceProps device = DeviceNamed("h100");
  const ConvShape c = Square(56, 64, 64, 3, 1, DType::kBFloat16);
  EXPECT_EQ(PlanOf(ConvStats(c).graph, device),
            "engine 3, compiled at run time, 3 offered, workspace 0");
  for (const Pattern& p :
       {NormReluConvStats(c), NormReluConvGradFilter(c), ConvGradInputReluNormGrad(c)}) {
    EXPECT_EQ(PlanOf(p.graph, device), "no: cuDNN has no engine for it");
  }
}

TEST(CudnnPatterns, TextOfTheWayBack) {
  const ConvShape c{.n = 2,
                    .in = 8,
                    .out = 16,
                    .image = {7, 9},
                    .kernel = {3, 3},
                    .stride = {2, 1},
                    .padding = {1, 0}};
  EXPECT_EQ(ConvGradInputReluNormGrad(c).graph.Text(),
            "1: float16 [2, 16, 4, 7] by [448, 1, 112, 16]\n"
            "2: float16 [16, 8, 3, 3] by [72, 1, 24, 8]\n"
            "3: float16 [2, 8, 7, 9] by [504, 1, 72, 8]\n"
            "4: float16 [2, 8, 7, 9] by [504, 1, 72, 8]\n"
            "5: float32 [1, 8, 1, 1] by [8, 1, 8, 8]\n"
            "6: float32 [1, 8, 1, 1] by [8, 1, 8, 8]\n"
            "7: float32 [1, 8, 1, 1] by [8, 1, 8, 8]\n"
            "8: float32 [1, 8, 1, 1] by [8, 1, 8, 8]\n"
            "9: float32 [2, 8, 7, 9] by [504, 1, 72, 8] inside\n"
            "10: float32 [2, 8, 7, 9] by [504, 1, 72, 8] inside\n"
            "11: float32 [2, 8, 7, 9] by [504, 1, 72, 8] inside\n"
            "12: float32 [2, 8, 7, 9] by [504, 1, 72, 8] inside\n"
            "13: float32 [2, 8, 7, 9] by [504, 1, 72, 8] inside\n"
            "14: float32 [1, 8, 1, 1] by [8, 1, 8, 8]\n"
            "15: float32 [1, 8, 1, 1] by [8, 1, 8, 8]\n"
            "16: float32 [1, 8, 1, 1] by [8, 1, 8, 8]\n"
            "17: float32 [1, 8, 1, 1] by [8, 1, 8, 8]\n"
            "18: float32 [1, 8, 1, 1] by [8, 1, 8, 8]\n"
            "conv_grad_input dy=1 w=2 dx=9 low=[1, 0] high=[1, 0] stride=[2, 1] dilation=[1, 1]\n"
            "pointwise sub x=3 b=5 y=10\n"
            "pointwise mul x=10 b=6 y=11\n"
            "pointwise mul x=11 b=7 y=12\n"
            "pointwise add x=12 b=8 y=13\n"
            "pointwise relu_grad dy=9 x=13 dx=4\n"
            "bn_grad_weights x=3 dy=4 mean=5 rstd=6 scale=7 dscale=14 dbias=15 dy_factor=16 "
            "x_factor=17 shift=18\n");
}

}  // namespace
}  // namespace ostria::cuda
