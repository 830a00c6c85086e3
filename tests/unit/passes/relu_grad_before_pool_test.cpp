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

TEST(ReluGradBeforePool, MasksTheSmallerTensor) {
  EXPECT_EQ(After(ReluGradBeforePool,
                  std::string(kHead) + R"(%r: float32[2, 4, 4, 3] = relu_grad@1(%d, %y)
output "r" %r
)"),
            R"(input %0 "y": float32[2, 4, 4, 3]
input %1 "g": float32[2, 2, 2, 3]
%2: float32[2, 2, 2, 3], %3: uint8[2, 2, 2, 3] = max_pool2d@1(%0) {window = ints[2, 2], strides = ints[2, 2], padding = ints[0, 0, 0, 0]}
%4: float32[2, 2, 2, 3] = relu_grad@1(%1, %2)
%5: float32[2, 4, 4, 3] = max_pool_grad@1(%4, %3) {window = ints[2, 2], strides = ints[2, 2], padding = ints[0, 0, 0, 0], size = shape[4, 4]}
output "r" %5
)");
}

TEST(ReluGradBeforePool, LeavesOtherMasksAndGradientsThatOthersRead) {
  for (const char* rest : {"%r: float32[2, 4, 4, 3] = relu_grad@1(%d, %d)\noutput \"r\" %r\n",
                           "%r: float32[2, 4, 4, 3] = relu_grad@1(%y, %d)\noutput \"r\" %r\n",
                           "%r: float32[2, 4, 4, 3] = relu_grad@1(%d, %y)\noutput \"r\" %r\n"
                           "output \"d\" %d\n"}) {
    const std::string after = After(ReluGradBeforePool, std::string(kHead) + rest);
    EXPECT_NE(after.find("max_pool_grad@1(%1, %3)"), std::string::npos) << after;
  }
}

// Overlapping windows that reach over the border, negative elements, NaN: the same bits.
TEST(ReluGradBeforePool, ChangesNoValue) {
  const std::vector<Attr> attrs = {std::vector<int64_t>{3, 3}, std::vector<int64_t>{2, 2},
                                   std::vector<int64_t>{1, 1, 1, 1}};
  std::mt19937 random(1);
  const auto draw = [&](const Shape& shape) {
    Tensor t = Tensor::Empty(DType::kFloat32, shape);
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < shape.numel(); ++i) t.data<float>()[i] = normal(random);
    return t;
  };
  Tensor y = draw({2, 7, 7, 3});
  y.data<float>()[5] = std::numeric_limits<float>::quiet_NaN();
  for (int64_t i = 40; i < 140; ++i) y.data<float>()[i] = -1;  // whole windows without a positive
  std::vector<Tensor> pooled, spread, before, masked, after;
  RunEager(ops::kMaxPool2d, std::vector{y}, attrs, &pooled);
  const Tensor g = draw(pooled[0].shape());
  std::vector<Attr> back = attrs;
  back.push_back(Shape{7, 7});
  RunEager(ops::kMaxPoolGrad, std::vector{g, pooled[1]}, back, &spread);
  RunEager(ops::kReluGrad, std::vector{spread[0], y}, {}, &before);
  RunEager(ops::kReluGrad, std::vector{g, pooled[0]}, {}, &masked);
  RunEager(ops::kMaxPoolGrad, std::vector{masked[0], pooled[1]}, back, &after);
  for (int64_t i = 0; i < y.numel(); ++i) {
    EXPECT_EQ(before[0].data<float>()[i], after[0].data<float>()[i]) << i;
  }
}

}  // namespace
}  // namespace ostria
