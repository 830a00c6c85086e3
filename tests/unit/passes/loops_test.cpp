// SPDX-License-Identifier: Apache-2.0
// Golden texts of merge_scans, trim_loops and hoist_invariant.
#include "golden.h"

namespace ostria {
namespace {

TEST(MergeScans, StacksInOneLoopWhatTwoStacked) {
  EXPECT_EQ(After(MergeScans, R"(input %w "w": float32[2]
input %c "c": float32[2]
input %x "x": float32[4, 2]
%h: float32[2], %y: float32[4, 2] = scan@1(%w, %c, %x) {body = {
  input %0 "w": float32[2]
  input %1 "c": float32[2]
  input %2 "x": float32[2]
  input %3 "step": int64[]
  %4: float32[2] = multiply@1(%1, %0)
  %5: float32[2] = tanh@1(%4)
  %6: float32[2] = add@1(%5, %2)
  output "c" %6
  output "y" %5
}, captures = 1, carries = 1, length = 4, reverse = false}
%g: float32[2], %z: float32[4, 2], %v: float32[4, 2] = scan@1(%w, %c, %x) {body = {
  input %0 "w": float32[2]
  input %1 "c": float32[2]
  input %2 "x": float32[2]
  input %3 "step": int64[]
  %4: float32[2] = multiply@1(%1, %0)
  %5: float32[2] = tanh@1(%4)
  %6: float32[2] = add@1(%5, %2)
  output "c" %6
  output "z" %4
  output "v" %1
}, captures = 1, carries = 1, length = 4, reverse = false}
%s: float32[2] = add@1(%h, %g)
output "s" %s
output "y" %y
output "z" %z
output "v" %v
)"),
            R"(input %0 "w": float32[2]
input %1 "c": float32[2]
input %2 "x": float32[4, 2]
%3: float32[2], %4: float32[4, 2], %5: float32[4, 2], %6: float32[4, 2] = scan@1(%0, %1, %2) {body = {
  input %0 "w": float32[2]
  input %1 "c": float32[2]
  input %2 "x": float32[2]
  input %3 "step": int64[]
  %4: float32[2] = multiply@1(%1, %0)
  %5: float32[2] = tanh@1(%4)
  %6: float32[2] = add@1(%5, %2)
  output "c" %6
  output "y" %5
  output "more_1" %4
  output "more_2" %1
}, captures = 1, carries = 1, length = 4, reverse = false}
%7: float32[2] = add@1(%3, %3)
output "s" %7
output "y" %4
output "z" %5
output "v" %6
)");
}

TEST(MergeScans, LeavesLoopsThatDiffer) {
  const std::string text = R"(input %0 "w": float32[2]
input %1 "c": float32[2]
%2: float32[2] = scan@1(%0, %1) {body = {
  input %0 "w": float32[2]
  input %1 "c": float32[2]
  input %2 "step": int64[]
  %3: float32[2] = multiply@1(%1, %0)
  output "c" %3
}, captures = 1, carries = 1, length = 4, reverse = false}
%3: float32[2] = scan@1(%0, %1) {body = {
  input %0 "w": float32[2]
  input %1 "c": float32[2]
  input %2 "step": int64[]
  %3: float32[2] = add@1(%1, %0)
  output "c" %3
}, captures = 1, carries = 1, length = 4, reverse = false}
%4: float32[2] = scan@1(%0, %1) {body = {
  input %0 "w": float32[2]
  input %1 "c": float32[2]
  input %2 "step": int64[]
  %3: float32[2] = multiply@1(%1, %0)
  output "c" %3
}, captures = 1, carries = 1, length = 5, reverse = false}
output "a" %2
output "b" %3
output "c" %4
)";
  EXPECT_EQ(After(MergeScans, text), text);
}

// Unread: y, x1, and the carry d, which feeds itself alone; with it goes the capture v.
TEST(TrimLoops, AScanKeepsWhatIsReadAfterwards) {
  EXPECT_EQ(After(TrimLoops, R"(input %w "w": float32[2]
input %v "v": float32[2]
input %c "c": float32[2]
input %d "d": float32[2]
input %e "e": float32[2]
input %x "x": float32[4, 2]
input %x1 "x1": float32[4, 2]
%h: float32[2], %i: float32[2], %j: float32[2], %y: float32[4, 2], %z: float32[4, 2] = scan@1(%w, %v, %c, %d, %e, %x, %x1) {body = {
  input %0 "w": float32[2]
  input %1 "v": float32[2]
  input %2 "c": float32[2]
  input %3 "d": float32[2]
  input %4 "e": float32[2]
  input %5 "x": float32[2]
  input %6 "x1": float32[2]
  input %7 "step": int64[]
  %8: float32[2] = multiply@1(%2, %0)
  %9: float32[2] = multiply@1(%3, %1)
  %10: float32[2] = add@1(%4, %5)
  %11: float32[2] = add@1(%8, %4)
  %12: float32[2] = exp@1(%6)
  output "c" %11
  output "d" %9
  output "e" %10
  output "y" %12
  output "z" %8
}, captures = 2, carries = 3, length = 4, reverse = true}
output "h" %h
output "z" %z
)"),
            R"(input %0 "w": float32[2]
input %1 "v": float32[2]
input %2 "c": float32[2]
input %3 "d": float32[2]
input %4 "e": float32[2]
input %5 "x": float32[4, 2]
input %6 "x1": float32[4, 2]
%7: float32[2], %8: float32[2], %9: float32[4, 2] = scan@1(%0, %2, %4, %5) {body = {
  input %0 "w": float32[2]
  input %1 "c": float32[2]
  input %2 "e": float32[2]
  input %3 "x": float32[2]
  input %4 "step": int64[]
  %5: float32[2] = multiply@1(%1, %0)
  %6: float32[2] = add@1(%2, %3)
  %7: float32[2] = add@1(%5, %2)
  output "c" %7
  output "e" %6
  output "z" %5
}, captures = 1, carries = 2, length = 4, reverse = true}
output "h" %7
output "z" %9
)");
}

// b is read by the condition, a feeds b; c is neither read nor feeds anything.
TEST(TrimLoops, AWhileLoopKeepsWhatDecides) {
  EXPECT_EQ(After(TrimLoops, R"(input %w "w": float32[2]
input %v "v": float32[2]
input %a "a": float32[]
input %b "b": float32[]
input %c "c": float32[2]
input %d "d": float32[2]
%h: float32[], %i: float32[], %j: float32[2], %k: float32[2] = while_loop@1(%w, %v, %a, %b, %c, %d) {condition = {
  input %0 "w": float32[2]
  input %1 "v": float32[2]
  input %2 "a": float32[]
  input %3 "b": float32[]
  input %4 "c": float32[2]
  input %5 "d": float32[2]
  input %6 "step": int64[]
  %7: bool[] = less@1(%3, %3)
  output "go" %7
}, body = {
  input %0 "w": float32[2]
  input %1 "v": float32[2]
  input %2 "a": float32[]
  input %3 "b": float32[]
  input %4 "c": float32[2]
  input %5 "d": float32[2]
  input %6 "step": int64[]
  %7: float32[] = exp@1(%2)
  %8: float32[] = add@1(%3, %2)
  %9: float32[2] = add@1(%4, %1)
  %10: float32[2] = multiply@1(%5, %0)
  output "a" %7
  output "b" %8
  output "c" %9
  output "d" %10
}, captures = 2, max_steps = 7}
output "d" %k
)"),
            R"(input %0 "w": float32[2]
input %1 "v": float32[2]
input %2 "a": float32[]
input %3 "b": float32[]
input %4 "c": float32[2]
input %5 "d": float32[2]
%6: float32[], %7: float32[], %8: float32[2] = while_loop@1(%0, %2, %3, %5) {condition = {
  input %0 "w": float32[2]
  input %1 "a": float32[]
  input %2 "b": float32[]
  input %3 "d": float32[2]
  input %4 "step": int64[]
  %5: bool[] = less@1(%2, %2)
  output "go" %5
}, body = {
  input %0 "w": float32[2]
  input %1 "a": float32[]
  input %2 "b": float32[]
  input %3 "d": float32[2]
  input %4 "step": int64[]
  %5: float32[] = exp@1(%1)
  %6: float32[] = add@1(%2, %1)
  %7: float32[2] = multiply@1(%3, %0)
  output "a" %5
  output "b" %6
  output "d" %7
}, captures = 1, max_steps = 7}
output "d" %8
)");
}

TEST(HoistInvariant, AScanComputesOnceWhatDependsOnCaptures) {
  EXPECT_EQ(After(HoistInvariant, R"(input %w "w": float32[2]
input %c "c": float32[2]
%h: float32[2] = scan@1(%w, %c) {body = {
  input %0 "w": float32[2]
  input %1 "c": float32[2]
  input %2 "step": int64[]
  %3: float32[2] = exp@1(%0)
  %4: float32[2] = sin@1(%3)
  %5: float32[2] = multiply@1(%1, %4)
  output "c" %5
}, captures = 1, carries = 1, length = 4, reverse = false}
output "h" %h
)"),
            R"(input %0 "w": float32[2]
input %1 "c": float32[2]
%2: float32[2] = exp@1(%0)
%3: float32[2] = sin@1(%2)
%4: float32[2] = scan@1(%0, %2, %3, %1) {body = {
  input %0 "w": float32[2]
  input %1 "hoisted_0": float32[2]
  input %2 "hoisted_1": float32[2]
  input %3 "c": float32[2]
  input %4 "step": int64[]
  %5: float32[2] = multiply@1(%3, %2)
  output "c" %5
}, captures = 3, carries = 1, length = 4, reverse = false}
output "h" %4
)");
}

TEST(HoistInvariant, AWhileLoopDoesSoInBothOfItsBodies) {
  EXPECT_EQ(After(HoistInvariant, R"(input %w "w": float32[]
input %c "c": float32[]
%h: float32[] = while_loop@1(%w, %c) {condition = {
  input %0 "w": float32[]
  input %1 "c": float32[]
  input %2 "step": int64[]
  %3: float32[] = exp@1(%0)
  %4: bool[] = less@1(%1, %3)
  output "go" %4
}, body = {
  input %0 "w": float32[]
  input %1 "c": float32[]
  input %2 "step": int64[]
  %3: float32[] = sin@1(%0)
  %4: float32[] = add@1(%1, %3)
  output "c" %4
}, captures = 1, max_steps = -1}
output "h" %h
)"),
            R"(input %0 "w": float32[]
input %1 "c": float32[]
%2: float32[] = exp@1(%0)
%3: float32[] = sin@1(%0)
%4: float32[] = while_loop@1(%0, %2, %3, %1) {condition = {
  input %0 "w": float32[]
  input %1 "hoisted_0": float32[]
  input %2 "hoisted_1": float32[]
  input %3 "c": float32[]
  input %4 "step": int64[]
  %5: bool[] = less@1(%3, %1)
  output "go" %5
}, body = {
  input %0 "w": float32[]
  input %1 "hoisted_0": float32[]
  input %2 "hoisted_1": float32[]
  input %3 "c": float32[]
  input %4 "step": int64[]
  %5: float32[] = add@1(%3, %2)
  output "c" %5
}, captures = 3, max_steps = -1}
output "h" %4
)");
}

TEST(HoistInvariant, ALoopOfOneStepDoesNotDoMore) {
  const std::string text = R"(input %0 "w": float32[]
input %1 "c": float32[]
%2: float32[] = while_loop@1(%0, %1) {condition = {
  input %0 "w": float32[]
  input %1 "c": float32[]
  input %2 "step": int64[]
  %3: bool[] = less@1(%1, %0)
  output "go" %3
}, body = {
  input %0 "w": float32[]
  input %1 "c": float32[]
  input %2 "step": int64[]
  %3: float32[] = exp@1(%0)
  output "c" %3
}, captures = 1, max_steps = 1}
output "h" %2
)";
  EXPECT_EQ(After(HoistInvariant, text), text);
}

}  // namespace
}  // namespace ostria
