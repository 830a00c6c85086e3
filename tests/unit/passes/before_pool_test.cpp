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

// Overlapping windows that reach over the border, negative elements, windows of NaN alone. Whole
// numbers, so that sums are exact.
struct Pooled {
  std::vector<Attr> attrs = {std::vector<int64_t>{3, 3}, std::vector<int64_t>{2, 2},
                             std::vector<int64_t>{1, 1, 1, 1}, Shape{7, 7}};
  std::mt19937 random{1};
  Tensor y = Draw({2, 7, 7, 3}), g;
  std::vector<Tensor> results;  // and which elements they are

  Pooled() {
    for (int64_t i = 0; i < 100; ++i) y.data<float>()[i] = std::numeric_limits<float>::quiet_NaN();
    for (int64_t i = 120; i < 220; ++i) y.data<float>()[i] = -1;  // whole windows of it
    RunEager(ops::kMaxPool2d, std::vector{y}, std::span(attrs).first(3), &results);
    g = Draw(results[0].shape());
  }
  Tensor Draw(const Shape& shape) {
    Tensor t = Tensor::Empty(DType::kFloat32, shape);
    std::uniform_int_distribution<int> number(-9, 9);
    for (int64_t i = 0; i < shape.numel(); ++i) {
      t.data<float>()[i] = static_cast<float>(number(random));
    }
    return t;
  }
  Tensor Spread(const Tensor& grad) const {
    return Run(ops::kMaxPoolGrad, {grad, results[1]}, attrs);
  }
  static Tensor Run(const OpDef& op, const std::vector<Tensor>& inputs,
                    const std::vector<Attr>& attrs) {
    std::vector<Tensor> out;
    RunEager(op, inputs, attrs, &out);
    return out[0];
  }
};

void ExpectEqual(const Tensor& a, const Tensor& b) {
  ASSERT_EQ(a.numel(), b.numel());
  for (int64_t i = 0; i < a.numel(); ++i) EXPECT_EQ(a.data<float>()[i], b.data<float>()[i]) << i;
}

TEST(ReluGradBeforePool, ChangesNoValue) {
  const Pooled p;
  ExpectEqual(p.Spread(Pooled::Run(ops::kReluGrad, {p.g, p.results[0]}, {})),
              Pooled::Run(ops::kReluGrad, {p.Spread(p.g), p.y}, {}));
}

std::string SumRewritten(const std::string& rest) {
  return After(SumBeforePool, std::string(kHead) + rest + "output \"d\" %d\noutput \"s\" %s\n");
}

TEST(SumBeforePool, AddsUpTheSmallerTensorThoughOthersReadTheOtherOne) {
  EXPECT_NE(SumRewritten("%s: float32[3] = sum@1(%d) {axis = [0, 1, 2]}\n")
                .find("float32[3] = sum@1(%1) {axis = ints[0, 1, 2], keepdims = false}"),
            std::string::npos);
  EXPECT_NE(
      SumRewritten("%s: float32[1, 1, 1, 3] = sum@1(%d) {axis = [0, 1, 2], keepdims = true}\n")
          .find("float32[1, 1, 1, 3] = sum@1(%1)"),
      std::string::npos);
  EXPECT_NE(SumRewritten("%s: float32[] = sum@1(%d)\n").find("float32[] = sum@1(%1)"),
            std::string::npos);
  EXPECT_NE(SumRewritten("%s: float32[2, 3] = sum@1(%d) {axis = [1, 2]}\n").find("sum@1(%1)"),
            std::string::npos);
}

TEST(SumBeforePool, LeavesSumsOverPartsOfImagesAndOtherReductions) {
  for (const char* rest : {"%s: float32[2, 4, 3] = sum@1(%d) {axis = [1]}\n",
                           "%s: float32[4, 4, 3] = sum@1(%d) {axis = [0]}\n",
                           "%s: float32[2, 4, 4] = sum@1(%d) {axis = [3]}\n",
                           "%s: float32[3] = mean@1(%d) {axis = [0, 1, 2]}\n",
                           "%s: float32[3] = max@1(%d) {axis = [0, 1, 2]}\n"}) {
    EXPECT_EQ(SumRewritten(rest).find("(%1) {axis"), std::string::npos) << rest;
  }
}

TEST(SumBeforePool, ChangesNoSum) {
  const Pooled p;
  const std::vector<Attr> axes = {std::vector<int64_t>{0, 1, 2}, false};
  ExpectEqual(Pooled::Run(ops::kSum, {p.g}, axes), Pooled::Run(ops::kSum, {p.Spread(p.g)}, axes));
}

}  // namespace
}  // namespace ostria
