// SPDX-License-Identifier: Apache-2.0
// Normalisation behind a convolution: folded where everything lasts, left alone elsewhere.
#include "golden.h"
#include "ir/builder.h"
#include "ops/ops.h"

namespace ostria {
namespace {

int Count(const Graph& g, const OpDef& op) {
  int count = 0;
  for (NodeId n = g.first(); n.valid(); n = g.next(n)) count += g.is(n, op) ? 1 : 0;
  return count;
}

struct Built {
  Graph g;
  Value x, k, f, s, y;
  Value Channel(int64_t id) { return g.AddState(id, StrCat("v", id), {DType::kFloat32, {3}}, 0); }
  Built() {
    Builder b(g, 0);
    x = g.AddInput("x", {DType::kFloat32, {1, 4, 4, 2}}, 0);
    k = g.AddState(1, "k", {DType::kFloat32, {3, 1, 1, 2}}, 0);
    f = Channel(2);
    s = Channel(3);
    y = b(ops::kConv2d, {x, k});
  }
  bool Run() {
    const bool changed = FoldChannelScale(g, {});
    EliminateDeadCode(g, {});
    Verify(g, "fold_channel_scale");
    EXPECT_FALSE(FoldChannelScale(g, {}));
    return changed;
  }
  /// Image-sized products that are left.
  int Products() {
    int count = 0;
    for (NodeId n = g.first(); n.valid(); n = g.next(n)) {
      count += g.is(n, ops::kMultiply) && g.type(g.result(n)) == g.type(y) ? 1 : 0;
    }
    return count;
  }
};

TEST(FoldChannelScale, AFactorGoesIntoTheKernel) {
  EXPECT_EQ(After(FoldChannelScale, R"(input %x "x": float32[1, 4, 4, 2]
state %k "k": float32[3, 1, 1, 2]
state %f "f": float32[3]
state %s "s": float32[3]
%1: float32[1, 4, 4, 3] = conv2d@1(%x, %k)
%2: float32[1, 4, 4, 3] = multiply@1(%1, %f)
%3: float32[1, 4, 4, 3] = subtract@1(%2, %s)
output "y" %3
)"),
            R"(input %0 "x": float32[1, 4, 4, 2]
state %1 "k": float32[3, 1, 1, 2]
state %2 "f": float32[3]
state %3 "s": float32[3]
%4: float32[3] = negative@1(%3)
%5: float32[3, 1, 1, 1] = reshape@1(%2) {shape = shape[3, 1, 1, 1]}
%6: float32[3, 1, 1, 2] = multiply@1(%1, %5)
%7: float32[1, 4, 4, 3] = conv2d@1(%0, %6) {strides = ints[1, 1], padding = ints[0, 0, 0, 0], dilation = ints[1, 1], groups = 1}
%8: float32[1, 4, 4, 3] = add@1(%7, %4)
output "y" %8
)");
}

TEST(FoldChannelScale, NormalisationIsTakenApartFirst) {
  Built t;
  Builder b(t.g, 0);
  const Value mean = t.Channel(4), var = t.Channel(5);
  t.g.AddOutput("y", b(ops::kBatchNormInference, {t.y, t.f, t.s, mean, var}));
  EXPECT_TRUE(t.Run());
  EXPECT_EQ(Count(t.g, ops::kBatchNormInference), 0);
  EXPECT_EQ(t.Products(), 0) << Print(t.g);
}

TEST(FoldChannelScale, AnAdditionBeforeTheFactorIsMultipliedToo) {
  Built t;
  Builder b(t.g, 0);
  t.g.AddOutput("y", b(ops::kMultiply, {t.f, b(ops::kAdd, {t.y, t.s})}));
  EXPECT_TRUE(t.Run());
  EXPECT_EQ(t.Products(), 0) << Print(t.g);
  EXPECT_EQ(Count(t.g, ops::kAdd), 1);
}

// s - (y * f) is not (y * f) - s.
TEST(FoldChannelScale, WhatTheResultIsSubtractedFromStays) {
  Built t;
  Builder b(t.g, 0);
  t.g.AddOutput("y", b(ops::kSubtract, {t.s, b(ops::kMultiply, {t.y, t.f})}));
  EXPECT_TRUE(t.Run());
  EXPECT_EQ(t.Products(), 0) << Print(t.g);
  EXPECT_EQ(Count(t.g, ops::kSubtract), 1);
}

TEST(FoldChannelScale, AKernelThatTheGraphTrainsStays) {
  Built t;
  Builder b(t.g, 0);
  t.g.AddOutput("y", b(ops::kMultiply, {t.y, t.f}));
  t.g.SetStateOut(0, b(ops::kAdd, {t.k, t.k}));
  EXPECT_FALSE(t.Run());
}

TEST(FoldChannelScale, AFactorThatIsAnInputStays) {
  Built t;
  Builder b(t.g, 0);
  const Value given = t.g.AddInput("f", {DType::kFloat32, {3}}, 0);
  t.g.AddOutput("y", b(ops::kMultiply, {t.y, given}));
  EXPECT_FALSE(t.Run());
}

TEST(FoldChannelScale, AConvolutionWithAnotherReaderStays) {
  Built t;
  Builder b(t.g, 0);
  t.g.AddOutput("y", b(ops::kMultiply, {t.y, t.f}));
  t.g.AddOutput("z", b(ops::kTanh, {t.y}));
  EXPECT_FALSE(t.Run());
}

TEST(FoldChannelScale, AnAdditionAloneIsLeftToTheFusion) {
  Built t;
  Builder b(t.g, 0);
  t.g.AddOutput("y", b(ops::kAdd, {t.y, t.s}));
  EXPECT_FALSE(t.Run());
}

// Of 16 bits the kernel is rounded once; on a CPU a loop has the factor for nothing.
TEST(FoldChannelScale, HalfKernelsAreScaledInFloat32OnAGpu) {
  const std::string text = R"(input %x "x": float16[1, 4, 4, 2]
state %k "k": float32[3, 1, 1, 2]
state %f "f": float16[3]
%c: float16[3, 1, 1, 2] = cast@1(%k) {dtype = float16}
%1: float16[1, 4, 4, 3] = conv2d@1(%x, %c)
%2: float16[1, 4, 4, 3] = multiply@1(%1, %f)
output "y" %2
)";
  EXPECT_EQ(UnitsAfter({FoldChannelScale}, text), "cast conv2d multiply");
  EXPECT_EQ(UnitsAfter({FoldChannelScale}, text, {.device = DeviceKind::kCuda}),
            "reshape cast multiply cast conv2d");
}

TEST(FuseBiasActivation, AResidualSumGoesIntoTheConvolution) {
  Built t;
  Builder b(t.g, 0);
  const Value z = t.g.AddInput("z", t.g.type(t.y), 0);
  const Value biased = b(ops::kAdd, {t.y, t.s});
  t.g.AddOutput("y", b(ops::kRelu, {b(ops::kAdd, {z, biased})}));
  EXPECT_TRUE(FuseBiasActivation(t.g, {}));
  Verify(t.g, "fuse_bias_activation");
  const NodeId fused = t.g.producer(t.g.outputs()[0]);
  ASSERT_TRUE(t.g.is(fused, ops::kConvFused)) << Print(t.g);
  EXPECT_EQ(t.g.operands(fused), (std::vector<Value>{t.x, t.k, t.s, z}));
  EXPECT_EQ(t.g.first(), fused);
}

}  // namespace
}  // namespace ostria
