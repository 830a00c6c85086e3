// SPDX-License-Identifier: Apache-2.0
// Golden texts of widen_sums.
#include "golden.h"

namespace ostria {
namespace {

TEST(WidenSums, CastsBeforeItSums) {
  EXPECT_EQ(After(WidenSums, R"(input %x "x": bfloat16[2, 4, 8]
%1: bfloat16[1, 1, 8] = sum@1(%x) {axis = ints[0, 1], keepdims = true}
%2: bfloat16[8] = reshape@1(%1) {shape = shape[8]}
%3: float32[8] = cast@1(%2) {dtype = float32}
output "3" %3
)"),
            R"(input %0 "x": bfloat16[2, 4, 8]
%1: float32[2, 4, 8] = cast@1(%0) {dtype = float32}
%2: float32[1, 1, 8] = sum@1(%1) {axis = ints[0, 1], keepdims = true}
%3: float32[8] = reshape@1(%2) {shape = shape[8]}
output "3" %3
)");
}

// A sum that others read, a largest element, a cast to something else.
TEST(WidenSums, LeavesOtherCasts) {
  for (const std::string text : {R"(input %0 "x": bfloat16[4, 8]
%1: bfloat16[8] = sum@1(%0) {axis = ints[0], keepdims = false}
%2: float32[8] = cast@1(%1) {dtype = float32}
output "1" %1
output "2" %2
)",
                                 R"(input %0 "x": bfloat16[4, 8]
%1: bfloat16[8] = max@1(%0) {axis = ints[0], keepdims = false}
%2: float32[8] = cast@1(%1) {dtype = float32}
output "2" %2
)",
                                 R"(input %0 "x": bfloat16[4, 8]
%1: bfloat16[8] = sum@1(%0) {axis = ints[0], keepdims = false}
%2: float64[8] = cast@1(%1) {dtype = float64}
output "2" %2
)"}) {
    EXPECT_EQ(After(WidenSums, text), text);
  }
}

}  // namespace
}  // namespace ostria
