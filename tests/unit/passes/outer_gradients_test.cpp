// SPDX-License-Identifier: Apache-2.0
#include "golden.h"

namespace ostria {
namespace {

const char* const kHead = R"(input %x "x": float32[1, 256]
input %dy "dy": float32[1, 64]
input %lr "lr": float32[]
input %commit "commit": bool[]
state %w "w": float32[256, 64]
%one: float32[] = full@1() {shape = [], value = 1}
%g: float32[256, 64] = matmul@1(%x, %dy) {transpose_a = true}
)";

TEST(OuterGradients, GoIntoTheUpdateAndTheCheckAsVectors) {
  EXPECT_EQ(After(OuterGradients, std::string(kHead) + R"(%ok: bool[] = all_finite@1(%g)
%both: bool[] = logical_and@1(%ok, %commit)
%new: float32[256, 64] = sgd_update@1(%w, %g, %lr, %one, %both)
update %w = %new
)"),
            R"(input %0 "x": float32[1, 256]
input %1 "dy": float32[1, 64]
input %2 "lr": float32[]
input %3 "commit": bool[]
state %4 "w": float32[256, 64]
%5: float32[] = full@1() {shape = shape[], dtype = float32, value = 1}
%6: float32[256] = reshape@1(%0) {shape = shape[256]}
%7: float32[64] = reshape@1(%1) {shape = shape[64]}
%8: float32[320] = concat@1(%6, %7) {axis = 0}
%9: bool[] = all_finite@1(%8) {outer = ints[256]}
%10: bool[] = logical_and@1(%9, %3)
%11: float32[256, 64] = sgd_update@1(%4, %8, %2, %5, %10) {weight_decay = 0, decay = ints[], rates = ints[], outer = ints[256]}
update %4 = %11
)");
}

// Somebody else needs the gradient itself; nobody updates; rows too short to pay.
TEST(OuterGradients, StayWholeWhereTheyAreNeeded) {
  const std::string update = "%new: float32[256, 64] = sgd_update@1(%w, %g, %lr, %one, %commit)\n";
  for (const std::string& text :
       {std::string(kHead) + update + "update %w = %new\noutput \"g\" %g\n",
        std::string(kHead) + update +
            "%norm: float32[] = global_norm@1(%g)\nupdate %w = %new\noutput \"n\" %norm\n",
        std::string(kHead) + "%ok: bool[] = all_finite@1(%g)\noutput \"ok\" %ok\n",
        std::string(R"(input %x "x": float32[1, 9000]
input %dy "dy": float32[1, 10]
input %lr "lr": float32[]
input %commit "commit": bool[]
state %w "w": float32[9000, 10]
%one: float32[] = full@1() {shape = [], value = 1}
%g: float32[9000, 10] = matmul@1(%x, %dy) {transpose_a = true}
%new: float32[9000, 10] = sgd_update@1(%w, %g, %lr, %one, %commit)
update %w = %new
)")}) {
    EXPECT_NE(After(OuterGradients, text).find("matmul@1"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace ostria
