// SPDX-License-Identifier: Apache-2.0
#include "golden.h"
#include "passes/pipeline.h"

namespace ostria {
namespace {

TEST(GuardState, TheUpdateMovesBehindTheChecksAndTheRestIsSelected) {
  EXPECT_EQ(After(GuardState, R"(input %x "x": float32[2]
input %i "i": int64[2]
input %c "c": bool[]
state %w "w": float32[2]
state %n "n": float32[2]
%r: float32[] = full@1() {shape = shape[], dtype = float32, value = 0.5}
%o: float32[] = full@1() {shape = shape[], dtype = float32, value = 1}
%m: float32[2] = add@1(%n, %x)
%u: float32[2] = sgd_update@1(%w, %x, %r, %o, %c) {weight_decay = 0, decay = ints[], rates = ints[], outer = ints[]}
%y: float32[2] = gather@1(%x, %i) {axis = 0}
update %w = %u
update %n = %m
output "y" %y
)"),
            R"(input %0 "x": float32[2]
input %1 "i": int64[2]
input %2 "c": bool[]
state %3 "w": float32[2]
state %4 "n": float32[2]
%5: float32[] = full@1() {shape = shape[], dtype = float32, value = 0.5}
%6: float32[] = full@1() {shape = shape[], dtype = float32, value = 1}
%7: float32[2] = add@1(%4, %0)
%8: float32[2] = gather@1(%0, %1) {axis = 0}
%9: bool[], %10: bool[] = data_accepted@1(%2, %8)
%11: float32[2] = sgd_update@1(%3, %0, %5, %6, %10) {weight_decay = 0, decay = ints[], rates = ints[], outer = ints[]}
%12: float32[2] = where@1(%9, %7, %4)
output "y" %8
update %3 = %11
update %4 = %12
)");
}

TEST(GuardState, AnUpdateThatACheckNeedsStaysAndItsResultIsSelected) {
  EXPECT_EQ(After(GuardState, R"(input %x "x": float32[2]
input %i "i": int64[2]
input %c "c": bool[]
state %w "w": float32[2]
%r: float32[] = full@1() {shape = shape[], dtype = float32, value = 0.5}
%u: float32[2] = sgd_update@1(%w, %x, %r, %r, %c) {weight_decay = 0, decay = ints[], rates = ints[], outer = ints[]}
%y: float32[2] = gather@1(%u, %i) {axis = 0}
update %w = %u
output "y" %y
)"),
            R"(input %0 "x": float32[2]
input %1 "i": int64[2]
input %2 "c": bool[]
state %3 "w": float32[2]
%4: bool[] = full@1() {shape = shape[], dtype = bool, value = 1}
%5: float32[] = full@1() {shape = shape[], dtype = float32, value = 0.5}
%6: float32[2] = sgd_update@1(%3, %0, %5, %5, %2) {weight_decay = 0, decay = ints[], rates = ints[], outer = ints[]}
%7: float32[2] = gather@1(%6, %1) {axis = 0}
%8: bool[], %9: bool[] = data_accepted@1(%4, %7)
%10: float32[2] = where@1(%8, %6, %3)
output "y" %7
update %3 = %10
)");
}

TEST(GuardState, ASelectionByTheUpdatesDecisionSharesItAndChecksAreForgotten) {
  const std::string text = R"(input %x "x": float32[2]
input %i "i": int64[2]
input %c "c": bool[]
input %d "d": bool[]
state %w "w": float32[2]
state %n "n": float32[2]
state %k "k": float32[2]
%r: float32[] = full@1() {shape = shape[], dtype = float32, value = 0.5}
%y: float32[2] = gather@1(%x, %i) {axis = 0}
%u: float32[2] = sgd_update@1(%w, %y, %r, %r, %c) {weight_decay = 0, decay = ints[], rates = ints[], outer = ints[]}
%m: float32[2] = where@1(%c, %x, %n)
%l: float32[2] = where@1(%d, %x, %k)
update %w = %u
update %n = %m
update %k = %l
)";
  const std::string guarded = After(GuardState, text);
  EXPECT_EQ(guarded.find("data_accepted"), guarded.rfind("data_accepted")) << guarded;
  EXPECT_EQ(After(ForgetChecks, guarded), R"(input %0 "x": float32[2]
input %1 "i": int64[2]
input %2 "c": bool[]
input %3 "d": bool[]
state %4 "w": float32[2]
state %5 "n": float32[2]
state %6 "k": float32[2]
%7: float32[] = full@1() {shape = shape[], dtype = float32, value = 0.5}
%8: float32[2] = gather@1(%0, %1) {axis = 0}
%9: bool[], %10: bool[] = data_accepted@1(%2)
%11: float32[2] = sgd_update@1(%4, %8, %7, %7, %10) {weight_decay = 0, decay = ints[], rates = ints[], outer = ints[]}
%12: float32[2] = where@1(%10, %0, %5)
%13: float32[2] = where@1(%3, %0, %6)
%14: float32[2] = where@1(%9, %13, %6)
update %4 = %11
update %5 = %12
update %6 = %14
)");
}

TEST(GuardState, GraphsWithoutChecksOrWithoutWritesStay) {
  for (const char* text : {R"(input %0 "x": float32[2]
state %1 "w": float32[2]
%2: float32[2] = add@1(%1, %0)
update %1 = %2
)",
                           R"(input %0 "x": float32[2]
input %1 "i": int64[2]
state %2 "w": float32[2]
%3: float32[2] = gather@1(%2, %1) {axis = 0}
output "y" %3
)"}) {
    EXPECT_EQ(After(GuardState, text), text);
  }
}

}  // namespace
}  // namespace ostria
