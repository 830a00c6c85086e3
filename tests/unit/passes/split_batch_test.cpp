// SPDX-License-Identifier: Apache-2.0
// Batches of large images run in parts; whatever is read later, or is small, stays whole.
#include "golden.h"
#include "ir/builder.h"
#include "ops/ops.h"

namespace ostria {
namespace {

using Ints = std::vector<int64_t>;

int Count(const Graph& g, const OpDef& op) {
  int count = 0;
  for (NodeId n = g.first(); n.valid(); n = g.next(n)) count += g.is(n, op) ? 1 : 0;
  return count;
}

// `layers` convolutions of [batch, 64, 64, 256] by kernels of `window`: a value has 4 MB per image.
struct Chain {
  Graph g;
  Value x;
  std::vector<Value> ys;  // the result of each
  Chain(int64_t batch, int layers, int64_t window = 1) {
    Builder b(g, 0);
    x = g.AddInput("x", {DType::kFloat32, {batch, 64, 64, 4}}, 0);
    Value y = x;
    for (int i = 0; i < layers; ++i) {
      const Value k = g.AddState(i + 1, StrCat("k", i),
                                 {DType::kFloat32, {256, window, window, i == 0 ? 4 : 256}}, 0);
      const int64_t low = window / 2, high = (window - 1) / 2;
      y = b(ops::kConv2d, {y, k}, {Ints{1, 1}, Ints{low, high, low, high}, Ints{1, 1}, int64_t{1}});
      ys.push_back(y);
    }
  }
  Value Pooled(Value v) {
    Builder b(g, 0);
    return b(ops::kAvgPool2d, {v}, {Ints{8, 8}, Ints{8, 8}, Ints{0, 0, 0, 0}});
  }
  bool Run() {
    const bool changed = SplitBatch(g, {});
    EliminateDeadCode(g, {});
    Verify(g, "split_batch");
    EXPECT_FALSE(SplitBatch(g, {}));
    return changed;
  }
};

TEST(SplitBatch, PartsThatFitTheCaches) {
  Chain c(8, 3);
  c.g.AddOutput("y", c.Pooled(c.ys.back()));
  EXPECT_TRUE(c.Run());
  EXPECT_EQ(Count(c.g, ops::kSlice), 4);  // of two images, so that values have 8 MB
  EXPECT_EQ(Count(c.g, ops::kConv2d), 12);
  EXPECT_EQ(Count(c.g, ops::kAvgPool2d), 4);
  const NodeId last = c.g.producer(c.g.outputs()[0]);
  EXPECT_TRUE(c.g.is(last, ops::kConcat));
  EXPECT_EQ(c.g.shape(c.g.result(last)), Shape({8, 8, 8, 256}));
}

TEST(SplitBatch, APartAtATime) {
  const std::string conv =
      " {strides = ints[1, 1], padding = ints[0, 0, 0, 0], dilation = ints[1, 1], groups = 1}\n";
  const std::string pool =
      " {window = ints[1024, 512], strides = ints[1, 1], padding = ints[0, 0, 0, 0]}\n";
  const std::string given = "float32[2, 1024, 512, 4]", half = "float32[1, 1024, 512, 4]";
  EXPECT_EQ(
      After(SplitBatch, "input %x \"x\": " + given + "\nstate %k \"k\": float32[4, 1, 1, 4]\n" +
                            "%1: " + given + " = conv2d@1(%x, %k)" + conv + "%2: " + given +
                            " = relu@1(%1)\n" + "%3: " + given + " = add@1(%2, %1)\n" +
                            "%4: float32[2, 1, 1, 4] = avg_pool2d@1(%3)" + pool +
                            "%5: float32[2, 1, 1, 4] = negative@1(%4)\n" +
                            "output \"y\" %4\noutput \"z\" %5\n"),
      "input %0 \"x\": " + given + "\nstate %1 \"k\": float32[4, 1, 1, 4]\n" + "%2: " + half +
          " = slice@1(%0) {start = ints[0, 0, 0, 0], stop = ints[1, 1024, 512, 4], step = "
          "ints[]}\n"
          "%3: " +
          half + " = conv2d@1(%2, %1)" + conv + "%4: " + half +
          " = relu@1(%3)\n"
          "%5: " +
          half +
          " = add@1(%4, %3)\n"
          "%6: float32[1, 1, 1, 4] = avg_pool2d@1(%5)" +
          pool + "%7: " + half +
          " = slice@1(%0) {start = ints[1, 0, 0, 0], stop = ints[2, 1024, 512, 4], step = "
          "ints[]}\n"
          "%8: " +
          half + " = conv2d@1(%7, %1)" + conv + "%9: " + half +
          " = relu@1(%8)\n"
          "%10: " +
          half +
          " = add@1(%9, %8)\n"
          "%11: float32[1, 1, 1, 4] = avg_pool2d@1(%10)" +
          pool +
          "%12: float32[2, 1, 1, 4] = concat@1(%6, %11) {axis = 0}\n"
          "%13: float32[2, 1, 1, 4] = negative@1(%12)\n"
          "output \"y\" %12\noutput \"z\" %13\n");
}

TEST(SplitBatch, EndsWhereValuesAreReadLater) {
  Chain c(8, 3);
  Builder b(c.g, 0);
  const Value pooled = c.Pooled(c.ys[2]);
  c.g.AddOutput("y", pooled);
  c.g.AddOutput("kept", c.ys[0]);  // as a gradient would
  EXPECT_FALSE(c.Run());
}

TEST(SplitBatch, EndsWhereKernelsOutweighImages) {
  Chain c(8, 2, 16);  // a kernel of 67 MB
  c.g.AddOutput("y", c.Pooled(c.ys.back()));
  EXPECT_FALSE(c.Run());
}

TEST(SplitBatch, LeavesSmallOnesAlone) {
  for (int64_t batch : {0, 1, 2}) {
    Chain c(batch, 3);
    c.g.AddOutput("y", c.Pooled(c.ys.back()));
    EXPECT_FALSE(c.Run()) << batch;
  }
}

TEST(SplitBatch, LeavesWhatLooksAtSeveralRowsAlone) {
  Chain c(8, 2);
  Builder b(c.g, 0);
  // The batch's mean over its rows, taken from every row.
  const Value mean = b(ops::kMean, {c.ys[0]}, {Ints{0}, true});
  const Value shifted = b(ops::kSubtract, {c.ys[1], mean});
  c.g.AddOutput("y", c.Pooled(shifted));
  EXPECT_FALSE(c.Run());
}

}  // namespace
}  // namespace ostria
