// SPDX-License-Identifier: Apache-2.0
// What a perfect fuser moves, counted by hand. A value of [4, 4] is 64 bytes.
#include "runtime/fused_bound.h"

#include <gtest/gtest.h>

namespace ostria {
namespace {

int64_t BoundOf(const std::string& text) {
  const Graph g = Parse("ostria-graph 1\ninput %x \"x\": float32[4, 4]\n" + text);
  return FusedBound(g, std::vector<bool>(static_cast<size_t>(g.node_capacity())));
}

TEST(FusedBound, LoopsExchangeNothing) {
  EXPECT_EQ(BoundOf(R"(%a: float32[4, 4] = exp@1(%x)
%b: float32[4, 4] = tanh@1(%a)
%c: float32[4, 4] = multiply@1(%a, %b)
output "c" %c
)"),
            2 * 64);
}

TEST(FusedBound, LibrariesMoveTheirOperandsAndResults) {
  EXPECT_EQ(BoundOf(R"(%m: float32[4, 4] = matmul@1(%x, %x)
%n: float32[4, 4] = matmul@1(%m, %x)
output "n" %n
)"),
            6 * 64);
}

TEST(FusedBound, WhatNobodyReadsIsNotWritten) {
  EXPECT_EQ(BoundOf(R"(%m: float32[4, 4] = matmul@1(%x, %x)
%n: float32[4, 4] = matmul@1(%x, %x)
%v: float32[4, 2], %i: int64[4, 2] = top_k@1(%n) {k = 2}
output "m" %m
output "v" %v
)"),
            3 * 64 + 3 * 64 + 64 + 32);
}

// Half of x, the slice, which the product reads too, and the product.
TEST(FusedBound, ASliceReadsWhatItGives) {
  EXPECT_EQ(
      BoundOf(R"(%s: float32[4, 2] = slice@1(%x) {start = [0, 0], stop = [4, 2], step = [1, 1]}
%m: float32[4, 2] = matmul@1(%x, %s)
output "m" %m
)"),
      2 * 32 + 64 + 2 * 32);
}

// m stays in registers: x twice, s, t.
TEST(FusedBound, ALoopRunsInTheLibraryBeforeIt) {
  EXPECT_EQ(BoundOf(R"(input %s "s": float32[4, 4]
%m: float32[4, 4] = matmul@1(%x, %x)
%t: float32[4, 4] = add@1(%m, %s)
output "t" %t
)"),
            4 * 64);
}

// The mean is known when all of y is written: x, gamma, beta; y written and read; statistics; t.
TEST(FusedBound, ButNotWhereItNeedsStatisticsOfTheLibrary) {
  const std::string norm = R"(input %g "g": float32[2]
input %h "h": float32[8, 2]
%y: float32[8, 2], %m: float32[2], %v: float32[2] = batch_norm@1(%h, %g, %g) {epsilon = 0.001}
)";
  const int64_t library = 64 + 2 * 8 + 64 + 8;
  EXPECT_EQ(BoundOf(norm + R"(%t: float32[8, 2] = tanh@1(%y)
output "t" %t
output "m" %m
)"),
            library);  // t instead of y
  EXPECT_EQ(BoundOf(norm + R"(%t: float32[8, 2] = subtract@1(%y, %m)
output "t" %t
)"),
            library + 64 + 8 + 64);
}

// Only one of two products: x four times, n written and read, t.
TEST(FusedBound, ButOnlyInOne) {
  EXPECT_EQ(BoundOf(R"(%m: float32[4, 4] = matmul@1(%x, %x)
%n: float32[4, 4] = matmul@1(%x, %x)
%t: float32[4, 4] = add@1(%m, %n)
output "t" %t
)"),
            7 * 64);
}

// The fold waits for the sum that reads g too: x three times, g written, read twice, d, s.
TEST(FusedBound, ALoopWaitsForAnotherReaderOfTheSame) {
  EXPECT_EQ(BoundOf(R"(%g: float32[4, 4] = matmul@1(%x, %x)
%s: float32[4] = sum@1(%g) {axis = ints[1]}
%h: float32[4, 4] = matmul@1(%g, %x)
%d: float32[4, 4] = add@1(%g, %h)
output "s" %s
output "d" %d
)"),
            7 * 64 + 16);
}

// square(x) costs one more read of x; to write it and to read it would be two.
TEST(FusedBound, WhatIsCheaperToMakeAgainIsNotWritten) {
  EXPECT_EQ(BoundOf(R"(%q: float32[4, 4] = square@1(%x)
%a: float32[4, 4] = abs@1(%q)
%m: float32[4, 4] = matmul@1(%a, %x)
%t: float32[4, 4] = add@1(%m, %q)
output "t" %t
)"),
            (1 + 1) * 64 + 2 * 64 + 1 * 64 + 64);
}

// A fold over rows is known at the end: x is read once more.
TEST(FusedBound, AFoldOverRowsEndsAGroup) {
  EXPECT_EQ(BoundOf(R"(%s: float32[4] = sum@1(%x) {axis = ints[0]}
%d: float32[4, 4] = subtract@1(%x, %s)
output "d" %d
)"),
            64 + 16 + 64 + 16 + 64);
  EXPECT_EQ(BoundOf(R"(%s: float32[4, 1] = sum@1(%x) {axis = ints[1], keepdims = true}
%d: float32[4, 4] = subtract@1(%x, %s)
output "d" %d
)"),
            2 * 64);
}

}  // namespace
}  // namespace ostria
