// SPDX-License-Identifier: Apache-2.0
// Golden texts of the passes around matrix products.
#include "autodiff/gradient.h"
#include "golden.h"
#include "passes/pipeline.h"

namespace ostria {
namespace {

TEST(FoldTransposes, BecomeFlags) {
  EXPECT_EQ(After(FoldTransposes, R"(input %a "a": float32[4, 2]
input %b "b": float32[5, 4]
input %c "c": float32[3, 2, 4]
%1: float32[2, 4] = transpose@1(%a)
%2: float32[4, 5] = transpose@1(%b) {axes = [1, 0]}
%3: float32[2, 5] = matmul@1(%1, %2)
%4: float32[2, 5] = matmul@1(%1, %b) {transpose_b = true}
%5: float32[3, 4, 2] = transpose@1(%c) {axes = [0, 2, 1]}
%6: float32[3, 2, 2] = matmul@1(%5, %a) {transpose_a = true}
%7: float32[2, 3, 4] = transpose@1(%c) {axes = [1, 0, 2]}
%8: float32[2, 3, 5] = matmul@1(%7, %b) {transpose_b = true}
output "3" %3
output "4" %4
output "6" %6
output "8" %8
)"),
            R"(input %0 "a": float32[4, 2]
input %1 "b": float32[5, 4]
input %2 "c": float32[3, 2, 4]
%3: float32[2, 5] = matmul@1(%0, %1) {transpose_a = true, transpose_b = true}
%4: float32[2, 5] = matmul@1(%0, %1) {transpose_a = true, transpose_b = true}
%5: float32[3, 2, 2] = matmul@1(%2, %0) {transpose_a = false, transpose_b = false}
%6: float32[2, 3, 4] = transpose@1(%2) {axes = ints[1, 0, 2]}
%7: float32[2, 3, 5] = matmul@1(%6, %1) {transpose_a = false, transpose_b = true}
output "3" %3
output "4" %4
output "6" %5
output "8" %7
)");
}

TEST(FoldTransposes, AProductsTransposeIsAProduct) {
  EXPECT_EQ(After(FoldTransposes, R"(input %a "a": float32[2, 4]
input %b "b": float32[4, 5]
%1: float32[2, 5] = matmul@1(%a, %b)
%2: float32[5, 2] = transpose@1(%1)
%3: float32[2, 5] = matmul@1(%a, %b)
%4: float32[5, 2] = transpose@1(%3)
output "2" %2
output "3" %3
output "4" %4
)"),
            R"(input %0 "a": float32[2, 4]
input %1 "b": float32[4, 5]
%2: float32[5, 2] = matmul@1(%1, %0) {transpose_a = true, transpose_b = true}
%3: float32[2, 5] = matmul@1(%0, %1) {transpose_a = false, transpose_b = false}
%4: float32[5, 2] = transpose@1(%3) {axes = ints[]}
output "2" %2
output "3" %3
output "4" %4
)");
}

const char* const kDense = R"(input %x "x": float32[8, 4]
state %w "w": float32[4, 3]
state %b "b": float32[3]
)";

TEST(FuseBiasActivation, TakesBiasActivationOrBoth) {
  EXPECT_EQ(After(FuseBiasActivation, std::string(kDense) + R"(%1: float32[8, 3] = matmul@1(%x, %w)
%2: float32[8, 3] = add@1(%b, %1)
%3: float32[8, 3] = relu@1(%2)
%4: float32[8, 3] = matmul@1(%x, %w)
%5: float32[8, 3] = tanh@1(%4)
%6: float32[8, 3] = matmul@1(%x, %w)
%7: float32[8, 3] = add@1(%6, %b)
%8: float32[8, 3] = exp@1(%7)
output "3" %3
output "5" %5
output "8" %8
)"),
            R"(input %0 "x": float32[8, 4]
state %1 "w": float32[4, 3]
state %2 "b": float32[3]
%3: float32[8, 3] = matmul_fused@1(%0, %1, %2) {transpose_a = false, transpose_b = false, epilogue = "relu", widen = false}
%4: float32[8, 3] = matmul_fused@1(%0, %1) {transpose_a = false, transpose_b = false, epilogue = "tanh", widen = false}
%5: float32[8, 3] = matmul_fused@1(%0, %1, %2) {transpose_a = false, transpose_b = false, epilogue = "none", widen = false}
%6: float32[8, 3] = exp@1(%5)
output "3" %3
output "5" %4
output "8" %6
)");
}

// What an update reads comes in float32, what a loop, the user or somebody else reads is rounded;
// float16 always is, for the loss scale's sake.
TEST(FuseBiasActivation, WidensWhatAnUpdateReads) {
  const std::string head = R"(input %x "x": bfloat16[8, 4]
input %g "g": bfloat16[8, 3]
input %h "h": float16[8, 4]
)";
  EXPECT_EQ(
      After(FuseBiasActivation, head + R"(%1: bfloat16[4, 3] = matmul@1(%x, %g) {transpose_a = true}
%2: float32[4, 3] = cast@1(%1) {dtype = float32}
%3: bool[] = all_finite@1(%2)
%4: bfloat16[4, 3] = matmul@1(%x, %g) {transpose_a = true}
%5: float32[4, 3] = cast@1(%4) {dtype = float32}
%6: float32[4, 3] = exp@1(%5)
%7: bfloat16[4, 3] = matmul@1(%x, %g) {transpose_a = true}
%8: float32[4, 3] = cast@1(%7) {dtype = float32}
%9: float16[4, 4] = matmul@1(%h, %h) {transpose_a = true}
%10: float32[4, 4] = cast@1(%9) {dtype = float32}
%11: bool[] = all_finite@1(%10)
output "3" %3
output "6" %6
output "8" %8
output "11" %11
)"),
      R"(input %0 "x": bfloat16[8, 4]
input %1 "g": bfloat16[8, 3]
input %2 "h": float16[8, 4]
%3: float32[4, 3] = matmul_fused@1(%0, %1) {transpose_a = true, transpose_b = false, epilogue = "none", widen = true}
%4: bool[] = all_finite@1(%3) {outer = ints[]}
%5: bfloat16[4, 3] = matmul@1(%0, %1) {transpose_a = true, transpose_b = false}
%6: float32[4, 3] = cast@1(%5) {dtype = float32}
%7: float32[4, 3] = exp@1(%6)
%8: bfloat16[4, 3] = matmul@1(%0, %1) {transpose_a = true, transpose_b = false}
%9: float32[4, 3] = cast@1(%8) {dtype = float32}
%10: float16[4, 4] = matmul@1(%2, %2) {transpose_a = true, transpose_b = false}
%11: float32[4, 4] = cast@1(%10) {dtype = float32}
%12: bool[] = all_finite@1(%11) {outer = ints[]}
output "3" %4
output "6" %7
output "8" %9
output "11" %12
)");
}

TEST(FuseBiasActivation, ConvolutionsToo) {
  EXPECT_EQ(After(FuseBiasActivation, R"(input %x "x": float32[2, 8, 8, 3]
state %w "w": float32[4, 3, 3, 3]
state %b "b": float32[4]
%1: float32[2, 6, 6, 4] = conv2d@1(%x, %w) {strides = ints[1, 1], padding = ints[0, 0, 0, 0], dilation = ints[1, 1], groups = 1}
%2: float32[2, 6, 6, 4] = add@1(%1, %b)
%3: float32[2, 6, 6, 4] = relu@1(%2)
output "y" %3
)"),
            R"(input %0 "x": float32[2, 8, 8, 3]
state %1 "w": float32[4, 3, 3, 3]
state %2 "b": float32[4]
%3: float32[2, 6, 6, 4] = conv_fused@1(%0, %1, %2) {strides = ints[1, 1], padding = ints[0, 0, 0, 0], dilation = ints[1, 1], groups = 1, activation = "relu"}
output "y" %3
)");
}

// The longest joint first; what the device refuses as one is left to loops.
TEST(FuseBiasActivation, JoinsWhatTheDeviceTakes) {
  const std::string text = R"(input %x "x": float32[2, 8, 8, 3]
state %w "w": float32[4, 3, 3, 3]
state %b "b": float32[4]
%1: float32[2, 6, 6, 4] = conv2d@1(%x, %w) {strides = ints[1, 1], padding = ints[0, 0, 0, 0], dilation = ints[1, 1], groups = 1}
%2: float32[2, 6, 6, 4] = add@1(%1, %b)
%3: float32[2, 6, 6, 4] = relu@1(%2)
output "y" %3
)";
  std::vector<std::string> asked;
  const auto taking = [&](std::string_view most) {
    PassContext context;
    context.has_kernel = [&asked, most](const OpDef& op, std::span<const Attr> attrs,
                                        std::span<const ValueType> inputs) {
      asked.push_back(
          StrCat(op.name, " of ", inputs.size(), " ", std::get<std::string>(attrs.back())));
      return std::get<std::string>(attrs.back()) == most;
    };
    return context;
  };
  const std::string some = After(FuseBiasActivation, text, taking("none"));
  EXPECT_NE(some.find(R"(activation = "none"})"), std::string::npos) << some;
  EXPECT_NE(some.find("relu@1(%3)"), std::string::npos) << some;
  EXPECT_EQ(asked,
            (std::vector<std::string>{R"(conv_fused of 3 relu)", R"(conv_fused of 3 none)"}));
  EXPECT_EQ(After(FuseBiasActivation, text, taking("nothing")).find("fused"), std::string::npos);
}

TEST(FuseBiasActivation, LeavesValuesThatOthersRead) {
  EXPECT_EQ(After(FuseBiasActivation, std::string(kDense) + R"(%1: float32[8, 3] = matmul@1(%x, %w)
%2: float32[8, 3] = add@1(%1, %b)
%3: float32[8, 3] = relu@1(%1)
%4: float32[8, 3] = matmul@1(%x, %w)
%5: float32[8, 3] = add@1(%4, %b)
%6: float32[8, 3] = gelu@1(%5)
%7: float32[8, 3] = multiply@1(%6, %5)
%8: float32[8, 3] = matmul@1(%x, %w)
%9: float32[8, 3] = relu@1(%8)
%10: float32[8, 3] = matmul@1(%x, %w)
%11: float32[8, 3] = add@1(%10, %10)
output "2" %2
output "3" %3
output "7" %7
output "8" %8
output "9" %9
output "11" %11
)"),
            R"(input %0 "x": float32[8, 4]
state %1 "w": float32[4, 3]
state %2 "b": float32[3]
%3: float32[8, 3] = matmul@1(%0, %1) {transpose_a = false, transpose_b = false}
%4: float32[8, 3] = add@1(%3, %2)
%5: float32[8, 3] = relu@1(%3)
%6: float32[8, 3] = matmul_fused@1(%0, %1, %2) {transpose_a = false, transpose_b = false, epilogue = "none", widen = false}
%7: float32[8, 3] = gelu@1(%6) {approximate = false}
%8: float32[8, 3] = multiply@1(%7, %6)
%9: float32[8, 3] = matmul@1(%0, %1) {transpose_a = false, transpose_b = false}
%10: float32[8, 3] = relu@1(%9)
%11: float32[8, 3] = matmul@1(%0, %1) {transpose_a = false, transpose_b = false}
%12: float32[8, 3] = add@1(%11, %11)
output "2" %4
output "3" %5
output "7" %8
output "8" %9
output "9" %10
output "11" %12
)");
}

// Two layers with their gradients: every bias and relu sits in its product, and nothing is
// transposed.
TEST(Optimise, ATrainingStepOfTwoLayers) {
  Graph g = Parse(R"(ostria-graph 1
input %x "x": float32[8, 4]
state %w1 "w1": float32[4, 3]
state %b1 "b1": float32[3]
state %w2 "w2": float32[3, 2]
%1: float32[8, 3] = matmul@1(%x, %w1)
%2: float32[8, 3] = add@1(%1, %b1)
%3: float32[8, 3] = relu@1(%2)
%4: float32[8, 2] = matmul@1(%3, %w2)
%5: float32[] = sum@1(%4)
output "loss" %5
)");
  std::vector<Value> wrt;
  for (const StateEntry& s : g.state()) wrt.push_back(s.in);
  const std::vector<Value> d = Gradients(g, {{g.outputs()[0]}}, {}, wrt);
  for (size_t i = 0; i < d.size(); ++i) g.AddOutput(g.state()[i].name, d[i]);
  SetVerifyEnabled(true);
  Optimise(g);
  SetVerifyEnabled(false);
  EXPECT_EQ(Print(g), R"(ostria-graph 1
input %0 "x": float32[8, 4]
state %1 "w1": float32[4, 3]
state %2 "b1": float32[3]
state %3 "w2": float32[3, 2]
%4: float32[8, 3] = matmul_fused@1(%0, %1, %2) {transpose_a = false, transpose_b = false, epilogue = "relu", widen = false}
%5: float32[8, 2] = matmul@1(%4, %3) {transpose_a = false, transpose_b = false}
%6: float32[] = sum@1(%5) {axis = ints[], keepdims = false}
%7: float32[8, 2] = constant@1() {value = tensor<float32[8, 2]>{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}}
%8: float32[8, 3] = matmul@1(%7, %3) {transpose_a = false, transpose_b = true}
%9: float32[3, 2] = matmul@1(%4, %7) {transpose_a = true, transpose_b = false}
%10: float32[8, 3], %11: float32[1, 3] = fused@1(%8, %4) {body = {
  input %0 "x0": float32[8, 3]
  input %1 "x1": float32[8, 3]
  %2: float32[8, 3] = relu_grad@1(%0, %1)
  %3: float32[1, 3] = sum@1(%2) {axis = ints[0], keepdims = true}
  output "y0" %2
  output "y1" %3
}}
%12: float32[3] = reshape@1(%11) {shape = shape[3]}
%13: float32[4, 3] = matmul@1(%0, %10) {transpose_a = true, transpose_b = false}
output "loss" %6
output "w1" %13
output "b1" %12
output "w2" %9
)");
}

}  // namespace
}  // namespace ostria
