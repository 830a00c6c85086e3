// SPDX-License-Identifier: Apache-2.0
// Batch normalisation and convolutions on a GPU, and the one thing that changes for them on a CPU.
#include "golden.h"
#include "passes/pins.h"

namespace ostria {
namespace {

const char* const kAttrs =
    "{strides = ints[1, 1], padding = ints[0, 0, 0, 0], dilation = ints[1, 1], groups = 1";

std::string Norm(const std::string& y, const std::string& x) {
  return y + "0: float16[2, 4, 4, 8], " + y + "1: float32[8], " + y +
         "2: float32[8] = batch_norm@1(" + x + ", %s, %b) {epsilon = 0.001}\n";
}

const char* const kHead = R"(input %x "x": float16[2, 4, 4, 8]
input %w "w": float16[8, 1, 1, 8]
input %s "s": float32[8]
input %b "b": float32[8]
)";

TEST(SplitNorms, StatisticsAndALoop) {
  EXPECT_EQ(After(SplitNorms, kHead + Norm("%y", "%x") + R"(%z: float16[2, 4, 4, 8] = relu@1(%y0)
output "z" %z
output "mean" %y1
)"),
            R"(input %0 "x": float16[2, 4, 4, 8]
input %1 "w": float16[8, 1, 1, 8]
input %2 "s": float32[8]
input %3 "b": float32[8]
%4: float32[8], %5: float32[8] = batch_norm_stats@1(%0)
%6: float32[] = full@1() {shape = shape[], dtype = float32, value = 0.001}
%7: float32[8] = add@1(%5, %6)
%8: float32[8] = rsqrt@1(%7)
%9: float32[8] = multiply@1(%2, %8)
%10: float32[2, 4, 4, 8] = cast@1(%0) {dtype = float32}
%11: float32[2, 4, 4, 8] = subtract@1(%10, %4)
%12: float32[2, 4, 4, 8] = multiply@1(%11, %9)
%13: float32[2, 4, 4, 8] = add@1(%12, %3)
%14: float16[2, 4, 4, 8] = cast@1(%13) {dtype = float16}
%15: float16[2, 4, 4, 8] = relu@1(%14)
output "z" %15
output "mean" %4
)");
}

// Sums in one loop with what makes the cotangent, dx in another, which casts what was stored.
TEST(SplitNorms, TheWayBackIsTwoLoops) {
  const PassContext gpu{.device = DeviceKind::kCuda};
  EXPECT_EQ(UnitsAfter({SplitNorms, FuseLoops}, std::string(kHead) + R"(
input %g "g": float16[2, 4, 4, 8]
input %m "m": float32[8]
input %v "v": float32[8]
%r: float16[2, 4, 4, 8] = relu_grad@1(%g, %x)
%d0: float16[2, 4, 4, 8], %d1: float32[8], %d2: float32[8] = batch_norm_grad@1(%r, %x, %s, %m, %v) {epsilon = 0.001}
output "dx" %d0
output "ds" %d1
output "db" %d2
)",
                       gpu),
            "(relu_grad cast sum cast subtract multiply sum) "
            "(full add rsqrt multiply multiply multiply full multiply full multiply) "
            "(cast subtract multiply cast add add multiply cast)");
}

// Where one of their implementations is pinned, they reach it.
TEST(SplitNorms, WhatIsPinnedStaysWhole) {
  const std::string text = std::string(kHead) + "%c: float16[2, 4, 4, 8] = conv2d@1(%x, %w) " +
                           kAttrs + "}\n" + Norm("%y", "%c") + R"(
%d0: float16[2, 4, 4, 8], %d1: float32[8], %d2: float32[8] = batch_norm_grad@1(%y0, %c, %s, %y1, %y2) {epsilon = 0.001}
output "dx" %d0
output "ds" %d1
output "db" %d2
)";
  SetPin(ops::kBatchNorm, "cudnn");
  const std::string after = UnitsAfter({NormsIntoConvs, SplitNorms}, text);
  SetPin(ops::kBatchNorm, "");
  EXPECT_TRUE(after.starts_with("conv2d batch_norm cast")) << after;
}

TEST(WidenNorms, CastsAroundWhatACpuHasNoKernelFor) {
  EXPECT_EQ(After(WidenNorms, kHead + Norm("%y", "%x") + "output \"z\" %y0\n"),
            R"(input %0 "x": float16[2, 4, 4, 8]
input %1 "w": float16[8, 1, 1, 8]
input %2 "s": float32[8]
input %3 "b": float32[8]
%4: float32[2, 4, 4, 8] = cast@1(%0) {dtype = float32}
%5: float32[2, 4, 4, 8], %6: float32[8], %7: float32[8] = batch_norm@1(%4, %2, %3) {epsilon = 0.001}
%8: float16[2, 4, 4, 8] = cast@1(%5) {dtype = float16}
output "z" %8
)");
}

TEST(NormsIntoConvs, AnImageThatIsReadByConvolutionsAloneIsNotStored) {
  const std::string conv = std::string("conv2d@1(%c, %w) ") + kAttrs + "}\n";
  const std::string text =
      std::string(kHead) + "%a: float16[2, 4, 4, 8] = conv2d@1(%x, %w) " + kAttrs + "}\n" +
      Norm("%y", "%a") +
      "%c: float16[2, 4, 4, 8] = relu@1(%y0)\n%d: float16[2, 4, 4, 8] = " + conv + Norm("%z", "%d");
  const auto ops = [](const std::string& text) { return UnitsAfter({NormsIntoConvs}, text); };
  EXPECT_EQ(ops(text + "output \"z\" %z0\n"),
            "conv_stats full multiply full multiply square subtract full maximum full add rsqrt "
            "multiply multiply subtract cast cast conv_stats full multiply full multiply square "
            "subtract full maximum full add rsqrt multiply cast subtract multiply add cast");
  // Somebody else reads it.
  const std::string kept = ops(text + "output \"z\" %z0\noutput \"c\" %c\n");
  EXPECT_NE(kept.find("cast relu conv_stats"), std::string::npos) << kept;
}

TEST(PadChannels, AnImageOfThreeColoursGetsEight) {
  EXPECT_EQ(
      After(PadChannels, std::string(R"(input %i "i": float32[2, 4, 4, 3]
input %k "k": float32[8, 1, 1, 3]
input %g "g": float16[2, 4, 4, 8]
%x: float16[2, 4, 4, 3] = cast@1(%i) {dtype = float16}
%w: float16[8, 1, 1, 3] = cast@1(%k) {dtype = float16}
%y: float16[2, 4, 4, 8] = conv2d@1(%x, %w) )") +
                             kAttrs + "}\n%d: float16[8, 1, 1, 3] = conv_grad_filter@1(%x, %g) " +
                             kAttrs + ", size = shape[1, 1]}\noutput \"y\" %y\noutput \"d\" %d\n"),
      std::string(R"(input %0 "i": float32[2, 4, 4, 3]
input %1 "k": float32[8, 1, 1, 3]
input %2 "g": float16[2, 4, 4, 8]
%3: float16[8, 1, 1, 8] = pad_channels@1(%1) {channels = 8, dtype = float16}
%4: float16[2, 4, 4, 8] = pad_channels@1(%0) {channels = 8, dtype = float16}
%5: float16[2, 4, 4, 8] = conv2d@1(%4, %3) )") +
          kAttrs + "}\n%6: float16[2, 4, 4, 8] = pad_channels@1(%0) {channels = 8, dtype = " +
          "float16}\n%7: float16[8, 1, 1, 8] = conv_grad_filter@1(%6, %2) " + kAttrs +
          R"(, size = shape[1, 1]}
%8: float16[8, 1, 1, 3] = slice@1(%7) {start = ints[0, 0, 0, 0], stop = ints[8, 1, 1, 3], step = ints[]}
output "y" %5
output "d" %8
)");
}

TEST(FiltersFirst, TheKernelsGradientComesBeforeTheImages) {
  const std::string gradients =
      std::string("%d: float16[2, 4, 4, 8] = conv_grad_input@1(%x, %w) ") + kAttrs +
      ", size = shape[4, 4]}\n%f: float16[8, 1, 1, 8] = conv_grad_filter@1(%x, %x) " + kAttrs +
      ", size = shape[1, 1]}\noutput \"d\" %d\noutput \"f\" %f\n";
  EXPECT_EQ(UnitsAfter({FiltersFirst}, kHead + gradients), "conv_grad_filter conv_grad_input");
  // It cannot where its image is made of the other.
  const std::string after =
      std::string("%d: float16[2, 4, 4, 8] = conv_grad_input@1(%x, %w) ") + kAttrs +
      ", size = shape[4, 4]}\n%f: float16[8, 1, 1, 8] = conv_grad_filter@1(%d, %x) " + kAttrs +
      ", size = shape[1, 1]}\noutput \"f\" %f\n";
  EXPECT_EQ(UnitsAfter({FiltersFirst}, kHead + after), "conv_grad_input conv_grad_filter");
}

}  // namespace
}  // namespace ostria
