// SPDX-License-Identifier: Apache-2.0
#include <random>

#include "golden.h"
#include "ops/ops.h"
#include "runtime/eager.h"

namespace ostria {
namespace {

const char* const kHead = R"(input %y "y": float32[2, 4, 4, 3]
input %g "g": float32[2, 2, 2, 3]
%p: float32[2, 2, 2, 3], %i: uint8[2, 2, 2, 3] = max_pool2d@1(%y) {window = [2, 2], strides = [2, 2], padding = [0, 0, 0, 0]}
%d: float32[2, 4, 4, 3] = max_pool_grad@1(%g, %i) {window = [2, 2], strides = [2, 2], padding = [0, 0, 0, 0], size = [4, 4]}
)";

std::string Rewritten(const std::string& rest) {
  return After(SumBeforePool, std::string(kHead) + rest + "output \"d\" %d\noutput \"s\" %s\n");
}

TEST(SumBeforePool, AddsUpTheSmallerTensorThoughOthersReadTheOtherOne) {
  EXPECT_NE(Rewritten("%s: float32[3] = sum@1(%d) {axis = [0, 1, 2]}\n")
                .find("float32[3] = sum@1(%1) {axis = ints[0, 1, 2], keepdims = false}"),
            std::string::npos);
  EXPECT_NE(Rewritten("%s: float32[1, 1, 1, 3] = sum@1(%d) {axis = [0, 1, 2], keepdims = true}\n")
                .find("float32[1, 1, 1, 3] = sum@1(%1)"),
            std::string::npos);
  EXPECT_NE(Rewritten("%s: float32[] = sum@1(%d)\n").find("float32[] = sum@1(%1)"),
            std::string::npos);
  EXPECT_NE(Rewritten("%s: float32[2, 3] = sum@1(%d) {axis = [1, 2]}\n").find("sum@1(%1)"),
            std::string::npos);
}

TEST(SumBeforePool, LeavesSumsOverPartsOfImagesAndOtherReductions) {
  for (const char* rest : {"%s: float32[2, 4, 3] = sum@1(%d) {axis = [1]}\n",
                           "%s: float32[4, 4, 3] = sum@1(%d) {axis = [0]}\n",
                           "%s: float32[2, 4, 4] = sum@1(%d) {axis = [3]}\n",
                           "%s: float32[3] = mean@1(%d) {axis = [0, 1, 2]}\n",
                           "%s: float32[3] = max@1(%d) {axis = [0, 1, 2]}\n"}) {
    EXPECT_EQ(Rewritten(rest).find("(%1) {axis"), std::string::npos) << rest;
  }
}

// Overlapping windows that reach over the border, and windows of NaN alone.
TEST(SumBeforePool, ChangesNoSum) {
  const std::vector<Attr> attrs = {std::vector<int64_t>{3, 3}, std::vector<int64_t>{2, 2},
                                   std::vector<int64_t>{1, 1, 1, 1}};
  std::mt19937 random(1);
  const auto draw = [&](const Shape& shape) {  // whole numbers, so that sums are exact
    Tensor t = Tensor::Empty(DType::kFloat32, shape);
    std::uniform_int_distribution<int> number(-9, 9);
    for (int64_t i = 0; i < shape.numel(); ++i) {
      t.data<float>()[i] = static_cast<float>(number(random));
    }
    return t;
  };
  Tensor y = draw({2, 7, 7, 3});
  for (int64_t i = 0; i < 100; ++i) y.data<float>()[i] = std::numeric_limits<float>::quiet_NaN();
  std::vector<Tensor> pooled, spread, before, after;
  RunEager(ops::kMaxPool2d, std::vector{y}, attrs, &pooled);
  const Tensor g = draw(pooled[0].shape());
  std::vector<Attr> back = attrs;
  back.push_back(Shape{7, 7});
  RunEager(ops::kMaxPoolGrad, std::vector{g, pooled[1]}, back, &spread);
  const std::vector<Attr> axes = {std::vector<int64_t>{0, 1, 2}, false};
  RunEager(ops::kSum, std::vector{spread[0]}, axes, &before);
  RunEager(ops::kSum, std::vector{g}, axes, &after);
  for (int64_t c = 0; c < 3; ++c) {
    EXPECT_EQ(before[0].data<float>()[c], after[0].data<float>()[c]) << c;
  }
}

}  // namespace
}  // namespace ostria
