// SPDX-License-Identifier: Apache-2.0
// Golden texts of softmax_cross_entropy.
#include "autodiff/gradient.h"
#include "golden.h"
#include "passes/pipeline.h"

namespace ostria {
namespace {

TEST(FuseSoftmaxCrossEntropy, NeedsTheSameSoftmaxAndAxis) {
  EXPECT_EQ(After(FuseSoftmaxCrossEntropy, R"(input %x "x": float32[8, 10]
input %u "u": float32[8, 10]
%1: float32[8, 10] = softmax@1(%x) {axis = 0}
%2: float32[8, 10] = log@1(%1)
%3: float32[8, 10] = divide@1(%u, %1)
%4: float32[8, 10] = softmax_grad@1(%1, %3) {axis = 1}
%5: float32[8, 10] = softmax@1(%u) {axis = 0}
%6: float32[8, 10] = softmax_grad@1(%5, %3) {axis = 0}
output "1" %1
output "2" %2
output "4" %4
output "6" %6
)"),
            R"(input %0 "x": float32[8, 10]
input %1 "u": float32[8, 10]
%2: float32[8, 10] = softmax@1(%0) {axis = 0}
%3: float32[8, 10] = log_softmax@1(%0) {axis = 0}
%4: float32[8, 10] = divide@1(%1, %2)
%5: float32[8, 10] = softmax_grad@1(%2, %4) {axis = 1}
%6: float32[8, 10] = softmax@1(%1) {axis = 0}
%7: float32[8, 10] = softmax_grad@1(%6, %4) {axis = 0}
output "1" %2
output "2" %3
output "4" %5
output "6" %7
)");
}

// The loss and its gradient read the logits once; what makes the gradient's factor goes ahead.
TEST(FuseSoftmaxCrossEntropy, JoinsALossAndItsGradient) {
  EXPECT_EQ(After(FuseSoftmaxCrossEntropy, R"(input %x "x": float32[8, 10]
input %l "labels": int32[8]
input %w "w": float32[8]
%1: float32[8] = sparse_softmax_cross_entropy@1(%x, %l) {classes = -1}
%2: float32[8] = exp@1(%w)
%3: float32[8] = multiply@1(%2, %w)
%4: float32[8, 10], %5: float32[8] = sparse_softmax_cross_entropy_grad@1(%x, %l, %3) {classes = -1}
output "1" %1
output "4" %4
)"),
            R"(input %0 "x": float32[8, 10]
input %1 "labels": int32[8]
input %2 "w": float32[8]
%3: float32[8] = exp@1(%2)
%4: float32[8] = multiply@1(%3, %2)
%5: float32[8, 10], %6: float32[8] = sparse_softmax_cross_entropy_grad@1(%0, %1, %4) {classes = -1}
output "1" %6
output "4" %5
)");
}

// A focal loss weighs the gradient by the loss itself; other labels are another loss.
TEST(FuseSoftmaxCrossEntropy, LeavesAGradientThatReadsTheLoss) {
  const std::string_view text = R"(input %0 "x": float32[8, 10]
input %1 "labels": int32[8]
input %2 "others": int32[8]
input %3 "w": float32[8]
%4: float32[8] = sparse_softmax_cross_entropy@1(%0, %1) {classes = -1}
%5: float32[8] = multiply@1(%4, %3)
%6: float32[8, 10], %7: float32[8] = sparse_softmax_cross_entropy_grad@1(%0, %1, %5) {classes = -1}
%8: float32[8, 10], %9: float32[8] = sparse_softmax_cross_entropy_grad@1(%0, %2, %3) {classes = -1}
output "4" %4
output "6" %6
output "8" %8
)";
  EXPECT_EQ(After(FuseSoftmaxCrossEntropy, std::string(text)), text);
}

// Logits of 16 bits stay so on a GPU, behind views too; the loss is float32.
constexpr std::string_view kLowLogits = R"(input %0 "x": bfloat16[2, 4, 10]
input %1 "labels": int32[8]
input %2 "w": float32[8]
%3: float32[2, 4, 10] = cast@1(%0) {dtype = float32}
%4: float32[8, 10] = reshape@1(%3) {shape = shape[8, 10]}
%5: float32[8, 10], %6: float32[8] = sparse_softmax_cross_entropy_grad@1(%4, %1, %2) {classes = -1}
%7: float32[2, 4, 10] = reshape@1(%5) {shape = shape[2, 4, 10]}
%8: bfloat16[2, 4, 10] = cast@1(%7) {dtype = bfloat16}
output "dx" %8
output "loss" %6
)";
TEST(FuseSoftmaxCrossEntropy, LeavesLogitsOf16BitsAsTheyAreOnGpus) {
  const PassContext gpu{.evaluate = nullptr, .device = DeviceKind::kCuda};
  EXPECT_EQ(After(FuseSoftmaxCrossEntropy, std::string(kLowLogits)), kLowLogits);
  EXPECT_EQ(After(FuseSoftmaxCrossEntropy, std::string(kLowLogits), gpu),
            R"(input %0 "x": bfloat16[2, 4, 10]
input %1 "labels": int32[8]
input %2 "w": float32[8]
%3: bfloat16[8, 10] = reshape@1(%0) {shape = shape[8, 10]}
%4: bfloat16[8, 10], %5: float32[8] = sparse_softmax_cross_entropy_grad@1(%3, %1, %2) {classes = -1}
%6: bfloat16[2, 4, 10] = reshape@1(%4) {shape = shape[2, 4, 10]}
output "dx" %6
output "loss" %5
)");
}

// A gradient that is read in float32 too, or logits that were float32, stay float32.
TEST(FuseSoftmaxCrossEntropy, LeavesAGradientThatIsReadInFloat32) {
  const PassContext gpu{.evaluate = nullptr, .device = DeviceKind::kCuda};
  std::string text = std::string(kLowLogits) + "output \"wide\" %7\n";
  EXPECT_EQ(After(FuseSoftmaxCrossEntropy, text, gpu), text);
  text = R"(input %0 "x": float32[8, 10]
input %1 "labels": int32[8]
input %2 "w": float32[8]
%3: float32[8, 10], %4: float32[8] = sparse_softmax_cross_entropy_grad@1(%0, %1, %2) {classes = -1}
%5: bfloat16[8, 10] = cast@1(%3) {dtype = bfloat16}
output "dx" %5
)";
  EXPECT_EQ(After(FuseSoftmaxCrossEntropy, text, gpu), text);
}

// -sum(labels * log(softmax(logits))) and its gradient: no softmax, no log, no division is left.
TEST(Optimise, CrossEntropyAsUsersWriteIt) {
  Graph g = Parse(R"(ostria-graph 1
input %x "logits": float32[8, 10]
input %l "labels": float32[8, 10]
%1: float32[8, 10] = softmax@1(%x) {axis = -1}
%2: float32[8, 10] = log@1(%1)
%3: float32[8, 10] = multiply@1(%l, %2)
%4: float32[] = sum@1(%3)
%5: float32[] = negative@1(%4)
output "loss" %5
)");
  g.AddOutput("d", Gradients(g, {{g.outputs()[0]}}, {}, {{g.inputs()[0]}})[0]);
  SetVerifyEnabled(true);
  Optimise(g);
  SetVerifyEnabled(false);
  EXPECT_EQ(Print(g), R"(ostria-graph 1
input %0 "logits": float32[8, 10]
input %1 "labels": float32[8, 10]
%2: float32[] = constant@1() {value = tensor<float32[]>{1}}
%3: float32[] = negative@1(%2)
%4: float32[8, 10], %5: float32[8, 10] = fused@1(%0, %1, %3) {body = {
  input %0 "x0": float32[8, 10]
  input %1 "x1": float32[8, 10]
  input %2 "x2": float32[]
  %3: float32[8, 10] = log_softmax@1(%0) {axis = -1}
  %4: float32[8, 10] = multiply@1(%1, %3)
  %5: float32[8, 10] = multiply@1(%2, %1)
  %6: float32[8, 10] = log_softmax_grad@1(%3, %5) {axis = -1}
  output "y0" %4
  output "y1" %6
}}
%6: float32[] = sum@1(%4) {axis = ints[], keepdims = false}
%7: float32[] = negative@1(%6)
output "loss" %7
output "d" %5
)");
}

}  // namespace
}  // namespace ostria
