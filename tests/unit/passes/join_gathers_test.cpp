// SPDX-License-Identifier: Apache-2.0
#include "golden.h"
#include "passes/pipeline.h"

namespace ostria {
namespace {

TEST(JoinGathers, PutRowsOfUnlikeTablesBesideWhatIsNoTable) {
  EXPECT_EQ(After(JoinGathers, R"(input %i "i": int32[8, 1]
input %j "j": int64[8]
input %x "x": float32[8, 3]
state %v "v": float32[50, 4]
state %w "w": float32[90, 2]
%ids: int32[8] = reshape@1(%i) {shape = [8]}
%a: float32[8, 4] = gather@1(%v, %ids)
%b: float32[8, 2] = gather@1(%w, %j)
%y: float32[8, 9] = concat@1(%a, %x, %b) {axis = -1}
output "y" %y
)"),
            R"(input %0 "i": int32[8, 1]
input %1 "j": int64[8]
input %2 "x": float32[8, 3]
state %3 "v": float32[50, 4]
state %4 "w": float32[90, 2]
%5: int32[8] = reshape@1(%0) {shape = shape[8]}
%6: float32[8, 9] = gather_concat@1(%3, %5, %2, %4, %1) {gathers = ints[1, 0, 1], axis = 1}
output "y" %6
)");
}

// As in stack: what the view does to the rows is done to the indices.
TEST(JoinGathers, LookThroughViewsThatKeepRows) {
  EXPECT_EQ(After(JoinGathers, R"(input %i "i": int64[8]
state %v "v": float32[50, 1]
state %w "w": float32[90, 1]
%a: float32[8, 1] = gather@1(%v, %i)
%c: float32[1, 8, 1] = reshape@1(%a) {shape = [1, 8, 1]}
%b: float32[8, 1] = gather@1(%w, %i)
%d: float32[1, 8, 1] = reshape@1(%b) {shape = [1, 8, 1]}
%y: float32[2, 8, 1] = concat@1(%c, %d) {axis = 0}
output "y" %y
)"),
            R"(input %0 "i": int64[8]
state %1 "v": float32[50, 1]
state %2 "w": float32[90, 1]
%3: int64[1, 8] = reshape@1(%0) {shape = shape[1, 8]}
%4: int64[1, 8] = reshape@1(%0) {shape = shape[1, 8]}
%5: float32[2, 8, 1] = gather_concat@1(%1, %3, %2, %4) {gathers = ints[1, 1], axis = 0}
output "y" %5
)");
}

TEST(JoinGathers, LeaveWhatOthersReadAndWhatIsNotRows) {
  const std::string head = R"(input %i "i": int64[8]
input %x "x": float32[8, 4]
state %v "v": float32[50, 4]
)";
  const std::string rest[] = {
      "%a: float32[8, 4] = gather@1(%v, %i)\n"
      "%y: float32[8, 8] = concat@1(%a, %x) {axis = 1}\noutput \"a\" %a\n",
      "%a: float32[50, 8] = gather@1(%v, %i) {axis = 1}\n"
      "%y: float32[50, 12] = concat@1(%a, %v) {axis = 1}\n",
      "%a: float32[8, 4] = gather@1(%v, %i)\n%f: float32[32] = reshape@1(%a) {shape = [32]}\n"
      "%y: float32[64] = concat@1(%f, %f) {axis = 0}\n",
  };
  for (const std::string& text : rest) {
    const std::string after = After(JoinGathers, head + text + "output \"y\" %y\n");
    EXPECT_EQ(after.find("gather_concat"), std::string::npos) << after;
  }
}

// What makes way for it: concats in concats, slices of slices and slices of copies.
TEST(JoinGathers, FindOneConcatAndOneSliceOfItsGradient) {
  EXPECT_EQ(After(Simplify, R"(input %a "a": float32[2, 3]
%b: float32[2, 6] = concat@1(%a, %a) {axis = 1}
%y: float32[2, 9] = concat@1(%b, %a) {axis = -1}
%c: float32[2, 5] = slice_at@1(%y) {axis = 1, start = [2], size = [5]}
%d: float32[2, 3] = slice_at@1(%c) {axis = 1, start = [1], size = [3]}
output "d" %d
)"),
            R"(input %0 "a": float32[2, 3]
%1: float32[2, 9] = concat@1(%0, %0, %0) {axis = 1}
%2: float32[2, 3] = slice_at@1(%1) {axis = 1, start = shape[3], size = shape[3]}
output "d" %2
)");
  EXPECT_EQ(After(RemoveBroadcasts, R"(input %a "a": float32[1, 3]
%b: float32[5, 3] = broadcast_to@1(%a) {shape = [5, 3]}
%c: float32[1, 3] = slice_at@1(%b) {axis = 0, start = [4], size = [1]}
%d: float32[5, 2] = slice_at@1(%b) {axis = 1, start = [0], size = [2]}
output "c" %c
output "d" %d
)"),
            R"(input %0 "a": float32[1, 3]
%1: float32[5, 3] = broadcast_to@1(%0) {shape = shape[5, 3]}
%2: float32[5, 2] = slice_at@1(%1) {axis = 1, start = shape[0], size = shape[2]}
output "c" %0
output "d" %2
)");
}

TEST(JoinGathers, IsForTheCachesOfACpu) {
  const Graph g = Parse(R"(ostria-graph 1
input %i "i": int64[8]
state %v "v": float32[50, 4]
state %w "w": float32[90, 2]
%a: float32[8, 4] = gather@1(%v, %i)
%b: float32[8, 2] = gather@1(%w, %i)
%y: float32[8, 6] = concat@1(%a, %b) {axis = 1}
output "y" %y
)");
  for (const DeviceKind device : {DeviceKind::kCpu, DeviceKind::kCuda}) {
    Graph optimised = g.Clone();
    Optimise(optimised, {.device = device});
    EXPECT_EQ(Print(optimised).find("gather_concat") != std::string::npos,
              device == DeviceKind::kCpu);
  }
}

}  // namespace
}  // namespace ostria
