// SPDX-License-Identifier: Apache-2.0
#include "golden.h"
#include "passes/pipeline.h"

namespace ostria {
namespace {

constexpr std::string_view kChoice = R"(input %p "p": bool[]
input %x "x": float32[2]
%y: float32[2], %z: float32[2] = cond@1(%p, %x) {true_body = {
  input %0 "x": float32[2]
  %1: float32[2] = tanh@1(%0)
  output "y" %1
  output "z" %0
}, false_body = {
  input %0 "x": float32[2]
  %1: float32[2] = exp@1(%0)
  output "y" %0
  output "z" %1
}}
output "y" %y
output "z" %z
)";

TEST(BothBranches, AreComputedAndOneIsKept) {
  EXPECT_EQ(After(BothBranches, std::string(kChoice)), R"(input %0 "p": bool[]
input %1 "x": float32[2]
%2: float32[2] = tanh@1(%1)
%3: float32[2] = exp@1(%1)
%4: float32[2] = where@1(%0, %2, %1)
%5: float32[2] = where@1(%0, %1, %3)
output "y" %4
output "z" %5
)");
}

TEST(BothBranches, AreLeftWhereOneMayRefuseItsData) {
  const std::string text = R"(input %p "p": bool[]
input %x "x": float32[2]
input %i "i": int64[2]
%y: float32[2] = cond@1(%p, %x, %i) {true_body = {
  input %0 "x": float32[2]
  input %1 "i": int64[2]
  %2: float32[2] = gather@1(%0, %1)
  output "y" %2
}, false_body = {
  input %0 "x": float32[2]
  input %1 "i": int64[2]
  output "y" %0
}}
output "y" %y
)";
  EXPECT_NE(After(BothBranches, text).find("cond"), std::string::npos);
}

TEST(BothBranches, AreForDevicesWithStreams) {
  for (const DeviceKind device : {DeviceKind::kCpu, DeviceKind::kCuda}) {
    Graph g = Parse("ostria-graph 1\n" + std::string(kChoice));
    Optimise(g, {.device = device});
    EXPECT_EQ(Print(g).find("cond") != std::string::npos, device == DeviceKind::kCpu);
  }
}

}  // namespace
}  // namespace ostria
