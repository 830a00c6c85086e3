// SPDX-License-Identifier: Apache-2.0
// Golden texts of simplify, remove_broadcasts and fold_constants.
#include <cmath>

#include "golden.h"
#include "ops/ops.h"

namespace ostria {
namespace {

const char* const kX = "input %x \"x\": float32[2, 3]\n";

TEST(Simplify, RemovesNeutralElements) {
  for (const char* line :
       {"add@1(%x, %0)", "add@1(%0, %x)", "subtract@1(%x, %0)", "multiply@1(%x, %1)",
        "multiply@1(%1, %x)", "divide@1(%x, %1)", "pow@1(%x, %1)"}) {
    EXPECT_EQ(After(Simplify, std::string(kX) +
                                  "%0: float32[] = full@1() {shape = [], value = 0}\n"
                                  "%1: float32[] = constant@1() {value = tensor<float32[]>{1}}\n"
                                  "%y: float32[2, 3] = " +
                                  line + "\noutput \"y\" %y\n"),
              "input %0 \"x\": float32[2, 3]\noutput \"y\" %0\n")
        << line;
  }
}

TEST(Simplify, KeepsWhatIsNotNeutral) {
  for (const char* line : {"add@1(%s, %0)",  // broadcasting changes the shape
                           "subtract@1(%0, %x)", "divide@1(%1, %x)", "multiply@1(%x, %0)"}) {
    const std::string text =
        After(Simplify, std::string(kX) +
                            "input %s \"s\": float32[3]\n"
                            "%0: float32[2, 3] = full@1() {shape = [2, 3], value = 0}\n"
                            "%1: float32[] = full@1() {shape = [], value = 1}\n"
                            "%y: float32[2, 3] = " +
                            line + "\noutput \"y\" %y\n");
    EXPECT_NE(text.find(std::string(line).substr(0, 6)), std::string::npos) << text;
  }
}

TEST(Simplify, CancelsNegation) {
  EXPECT_EQ(After(Simplify, std::string(kX) + R"(%1: float32[2, 3] = negative@1(%x)
%2: float32[2, 3] = negative@1(%1)
%3: float32[2, 3] = exp@1(%2)
%4: float32[2, 3] = subtract@1(%3, %1)
%5: float32[2, 3] = add@1(%4, %1)
output "y" %5
)"),
            R"(input %0 "x": float32[2, 3]
%1: float32[2, 3] = exp@1(%0)
%2: float32[2, 3] = add@1(%1, %0)
%3: float32[2, 3] = subtract@1(%2, %0)
output "y" %3
)");
}

TEST(Simplify, JoinsViewsAndTransposes) {
  EXPECT_EQ(After(Simplify, std::string(kX) + R"(%1: float32[6] = reshape@1(%x) {shape = [6]}
%2: float32[3, 2] = reshape@1(%1) {shape = [3, 2]}
%3: float32[2, 3] = reshape@1(%2) {shape = [2, 3]}
%4: float32[3, 2] = transpose@1(%x)
%5: float32[2, 3] = transpose@1(%4) {axes = [1, 0]}
%6: float32[1, 2, 3] = reshape@1(%x) {shape = [1, 2, 3]}
%7: float32[2, 1, 3] = transpose@1(%6) {axes = [1, 0, 2]}
%8: float32[3, 2, 1] = transpose@1(%7) {axes = [2, 0, 1]}
output "2" %2
output "3" %3
output "5" %5
output "7" %7
output "8" %8
)"),
            R"(input %0 "x": float32[2, 3]
%1: float32[3, 2] = reshape@1(%0) {shape = shape[3, 2]}
%2: float32[2, 1, 3] = reshape@1(%0) {shape = shape[2, 1, 3]}
%3: float32[3, 2, 1] = transpose@1(%2) {axes = ints[2, 0, 1]}
output "2" %1
output "3" %0
output "5" %0
output "7" %2
output "8" %3
)");
}

TEST(Simplify, ComposesTransposes) {
  EXPECT_EQ(After(Simplify, R"(input %x "x": float32[2, 3, 4]
%1: float32[4, 2, 3] = transpose@1(%x) {axes = [2, 0, 1]}
%2: float32[2, 4, 3] = transpose@1(%1) {axes = [1, 0, 2]}
output "y" %2
)"),
            R"(input %0 "x": float32[2, 3, 4]
%1: float32[2, 4, 3] = transpose@1(%0) {axes = ints[0, 2, 1]}
output "y" %1
)");
}

TEST(Simplify, JoinsCastsThatLoseNothing) {
  EXPECT_EQ(After(Simplify, R"(input %x "x": float32[2]
input %i "i": int32[2]
%1: float64[2] = cast@1(%x) {dtype = float64}
%2: float32[2] = cast@1(%1) {dtype = float32}
%3: float16[2] = cast@1(%x) {dtype = float16}
%4: float32[2] = cast@1(%3) {dtype = float32}
%5: float64[2] = cast@1(%i) {dtype = float64}
%6: float32[2] = cast@1(%5) {dtype = float32}
%7: float32[2] = cast@1(%i) {dtype = float32}
%8: float64[2] = cast@1(%7) {dtype = float64}
output "2" %2
output "4" %4
output "6" %6
output "8" %8
)"),
            R"(input %0 "x": float32[2]
input %1 "i": int32[2]
%2: float16[2] = cast@1(%0) {dtype = float16}
%3: float32[2] = cast@1(%2) {dtype = float32}
%4: float32[2] = cast@1(%1) {dtype = float32}
%5: float32[2] = cast@1(%1) {dtype = float32}
%6: float64[2] = cast@1(%5) {dtype = float64}
output "2" %0
output "4" %3
output "6" %4
output "8" %6
)");
}

TEST(Simplify, ReducesOverSizeOneByReshaping) {
  EXPECT_EQ(After(Simplify, R"(input %x "x": float32[1, 3]
input %i "i": int32[1]
%1: float32[3] = sum@1(%x) {axis = [0]}
%2: float32[1, 3] = max@1(%x) {axis = [0], keepdims = true}
%3: int64[] = sum@1(%i)
output "1" %1
output "2" %2
output "3" %3
)"),
            R"(input %0 "x": float32[1, 3]
input %1 "i": int32[1]
%2: float32[3] = reshape@1(%0) {shape = shape[3]}
%3: int64[] = sum@1(%1) {axis = ints[], keepdims = false}
output "1" %2
output "2" %0
output "3" %3
)");
}

TEST(RemoveBroadcasts, ElementwiseOpsBroadcastByThemselves) {
  EXPECT_EQ(After(RemoveBroadcasts, std::string(kX) + R"(input %b "b": float32[3]
%1: float32[1, 3] = reshape@1(%b) {shape = [1, 3]}
%2: float32[2, 3] = broadcast_to@1(%1) {shape = [2, 3]}
%3: float32[2, 3] = add@1(%x, %2)
%4: float32[2, 3] = full@1() {shape = [2, 3], value = 0.5}
%5: float32[2, 3] = multiply@1(%4, %3)
%6: float32[2, 3] = multiply@1(%2, %4)
output "5" %5
output "6" %6
)"),
            R"(input %0 "x": float32[2, 3]
input %1 "b": float32[3]
%2: float32[2, 3] = add@1(%0, %1)
%3: float32[] = full@1() {shape = shape[], dtype = float32, value = 0.5}
%4: float32[2, 3] = multiply@1(%3, %2)
%5: float32[] = full@1() {shape = shape[], dtype = float32, value = 0.5}
%6: float32[3] = multiply@1(%1, %5)
%7: float32[2, 3] = broadcast_to@1(%6) {shape = shape[2, 3]}
output "5" %4
output "6" %7
)");
}

TEST(RemoveBroadcasts, WhatIsDoneToCopiesIsDoneBefore) {
  EXPECT_EQ(After(RemoveBroadcasts, R"(input %b "b": float32[3]
input %c "c": float32[2, 1]
%1: float32[2, 3] = broadcast_to@1(%b) {shape = [2, 3]}
%2: float32[2, 3] = broadcast_to@1(%c) {shape = [2, 3]}
%3: float32[2, 3] = exp@1(%1)
%4: float32[2, 3] = log@1(%3)
%5: float32[2, 3] = add@1(%1, %2)
output "4" %4
output "5" %5
)"),
            R"(input %0 "b": float32[3]
input %1 "c": float32[2, 1]
%2: float32[3] = exp@1(%0)
%3: float32[3] = log@1(%2)
%4: float32[2, 3] = broadcast_to@1(%3) {shape = shape[2, 3]}
%5: float32[2, 3] = add@1(%0, %1)
output "4" %4
output "5" %5
)");
}

TEST(RemoveBroadcasts, SumsOfCopiesAreProducts) {
  EXPECT_EQ(After(RemoveBroadcasts, R"(input %b "b": float32[3, 1]
%1: float32[5, 3, 4] = broadcast_to@1(%b) {shape = [5, 3, 4]}
%2: float32[] = sum@1(%1)
%3: float32[3] = sum@1(%1) {axis = [0, 2]}
%4: float32[5, 1, 4] = sum@1(%1) {axis = [1], keepdims = true}
%5: float32[3, 4] = mean@1(%1) {axis = [0]}
%6: float32[4, 3] = full@1() {shape = [4, 3], value = 0.5}
%7: float32[3] = sum@1(%6) {axis = [0]}
output "2" %2
output "3" %3
output "4" %4
output "5" %5
output "7" %7
)"),
            R"(input %0 "b": float32[3, 1]
%1: float32[5, 3, 4] = broadcast_to@1(%0) {shape = shape[5, 3, 4]}
%2: float32[1, 3, 1] = reshape@1(%0) {shape = shape[1, 3, 1]}
%3: float32[1, 1, 1] = sum@1(%2) {axis = ints[1], keepdims = true}
%4: float32[] = full@1() {shape = shape[], dtype = float32, value = 20}
%5: float32[1, 1, 1] = multiply@1(%3, %4)
%6: float32[] = reshape@1(%5) {shape = shape[]}
%7: float32[1, 3, 1] = reshape@1(%0) {shape = shape[1, 3, 1]}
%8: float32[] = full@1() {shape = shape[], dtype = float32, value = 20}
%9: float32[1, 3, 1] = multiply@1(%7, %8)
%10: float32[3] = reshape@1(%9) {shape = shape[3]}
%11: float32[5, 1, 4] = sum@1(%1) {axis = ints[1], keepdims = true}
%12: float32[1, 3, 4] = broadcast_to@1(%0) {shape = shape[1, 3, 4]}
%13: float32[3, 4] = reshape@1(%12) {shape = shape[3, 4]}
%14: float32[3] = full@1() {shape = shape[3], dtype = float32, value = 2}
output "2" %6
output "3" %10
output "4" %11
output "5" %13
output "7" %14
)");
}

TEST(RemoveBroadcasts, MeansOfNothingAreLeftToTheirKernel) {
  const std::string text = After(RemoveBroadcasts, R"(input %b "b": float32[3]
%1: float32[0, 3] = broadcast_to@1(%b) {shape = [0, 3]}
%2: float32[3] = mean@1(%1) {axis = [0]}
output "2" %2
)");
  EXPECT_NE(text.find("mean@1"), std::string::npos) << text;
}

PassContext WithExpAndIota() {
  PassContext c;
  c.evaluate = [](const OpDef& op, std::span<const Attr>, std::span<const Tensor> in) {
    if (&op == &ops::kIota) {
      Tensor t = Tensor::Empty(DType::kInt64, {3});
      for (int i = 0; i < 3; ++i) t.data<int64_t>()[i] = i;
      return std::vector<Tensor>{t};
    }
    if (&op != &ops::kExp) Fail(ErrorCode::kNotImplemented, "no kernel");
    Tensor t = Tensor::Empty(DType::kFloat32, in[0].shape());
    for (int64_t i = 0; i < t.numel(); ++i) t.data<float>()[i] = std::exp(in[0].data<float>()[i]);
    return std::vector<Tensor>{t};
  };
  return c;
}

TEST(FoldConstants, ComputesOnceWhatIsAlwaysTheSame) {
  EXPECT_EQ(After(FoldConstants,
                  std::string(kX) +
                      R"(%1: float32[1000, 1000] = full@1() {shape = [1000, 1000], value = 0}
%2: float32[1000, 1000] = exp@1(%1)
%3: float32[2] = constant@1() {value = tensor<float32[2]>{0, -inf}}
%4: float32[2] = exp@1(%3)
%5: float32[2] = log@1(%4)
%6: float32[2, 3] = exp@1(%x)
%7: int64[] = dim_product@1() {shape = [5, 7]}
%8: int64[3] = iota@1() {length = [3]}
output "2" %2
output "5" %5
output "6" %6
output "7" %7
output "8" %8
)",
                  WithExpAndIota()),
            R"(input %0 "x": float32[2, 3]
%1: float32[1000, 1000] = full@1() {shape = shape[1000, 1000], dtype = float32, value = 1}
%2: float32[2] = constant@1() {value = tensor<float32[2]>{1, 0}}
%3: float32[2] = log@1(%2)
%4: float32[2, 3] = exp@1(%0)
%5: int64[] = full@1() {shape = shape[], dtype = int64, value = 35}
%6: int64[3] = constant@1() {value = tensor<int64[3]>{0, 1, 2}}
output "2" %1
output "5" %3
output "6" %4
output "7" %5
output "8" %6
)");
}

TEST(FoldConstants, NeedsNoKernelForSizes) {
  EXPECT_EQ(After(FoldConstants,
                  "%1: float32[] = dim_product@1() {shape = [4], dtype = float32}\n"
                  "%2: float32[] = exp@1(%1)\noutput \"y\" %2\n"),
            "%0: float32[] = full@1() {shape = shape[], dtype = float32, value = 4}\n"
            "%1: float32[] = exp@1(%0)\noutput \"y\" %1\n");
}

TEST(MaterialiseConstants, TurnsSmallFullsIntoBytes) {
  EXPECT_EQ(After(MaterialiseConstants,
                  R"(%1: bfloat16[3] = full@1() {shape = [3], dtype = bfloat16, value = 0.5}
%2: float32[1000, 1000] = full@1() {shape = [1000, 1000], value = 0}
output "1" %1
output "2" %2
)"),
            R"(%0: bfloat16[3] = constant@1() {value = tensor<bfloat16[3]>{0.5, 0.5, 0.5}}
%1: float32[1000, 1000] = full@1() {shape = shape[1000, 1000], dtype = float32, value = 0}
output "1" %0
output "2" %1
)");
}

}  // namespace
}  // namespace ostria
