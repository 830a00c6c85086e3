// SPDX-License-Identifier: Apache-2.0
// What loops compute again rather than read, and what they go on reading.
#include <gtest/gtest.h>

#include "golden.h"

namespace ostria {
namespace {

std::string Units(const std::string& text) { return UnitsAfter({FuseLoops, RecomputeCheap}, text); }

// The pre-activation is written for its gradient alone. m lives on in its place.
TEST(RecomputeCheap, WhatOnlyLoopsReadIsNotWritten) {
  EXPECT_EQ(After(RecomputeCheap, R"(input %x "x": float32[2048, 1024]
input %b "b": float32[1024]
input %w "w": float32[1024, 1024]
%m: float32[2048, 1024] = matmul@1(%x, %w)
%h: float32[2048, 1024], %a: float32[2048, 1024] = fused@1(%m, %b) {body = {
  input %0 "x0": float32[2048, 1024]
  input %1 "x1": float32[1024]
  %2: float32[2048, 1024] = add@1(%0, %1)
  %3: float32[2048, 1024] = gelu@1(%2)
  output "y0" %2
  output "y1" %3
}}
%g: float32[2048, 1024] = matmul@1(%a, %w)
%d: float32[2048, 1024] = gelu_grad@1(%g, %h)
output "d" %d
)"),
            R"(input %0 "x": float32[2048, 1024]
input %1 "b": float32[1024]
input %2 "w": float32[1024, 1024]
%3: float32[2048, 1024] = matmul@1(%0, %2) {transpose_a = false, transpose_b = false}
%4: float32[2048, 1024] = fused@1(%3, %1) {body = {
  input %0 "x0": float32[2048, 1024]
  input %1 "x1": float32[1024]
  %2: float32[2048, 1024] = add@1(%0, %1)
  %3: float32[2048, 1024] = gelu@1(%2) {approximate = false}
  output "y0" %3
}}
%5: float32[2048, 1024] = matmul@1(%4, %2) {transpose_a = false, transpose_b = false}
%6: float32[2048, 1024] = fused@1(%5, %3, %1) {body = {
  input %0 "x0": float32[2048, 1024]
  input %1 "x1": float32[2048, 1024]
  input %2 "x2": float32[1024]
  %3: float32[2048, 1024] = add@1(%1, %2)
  %4: float32[2048, 1024] = gelu_grad@1(%0, %3) {approximate = false}
  output "y0" %4
}}
output "d" %6
)");
}

// The product reads r from memory; the gradient has x at hand.
TEST(RecomputeCheap, WhatAReaderHasAtHandItDoesNotReadAgain) {
  const auto units = [](const char* other) {
    return Units(StrCat(R"(input %x "x": float32[2048, 2048]
input %z "z": float32[2048, 2048]
%r: float32[2048, 2048] = relu@1(%x)
%m: float32[2048, 2048] = matmul@1(%r, %x)
%f: bool[2048, 2048] = less@1(%m, %r)
%w: float32[2048, 2048] = where@1(%f, %m, )",
                        other, ")\noutput \"w\" %w\n"));
  };
  EXPECT_EQ(units("%x"), "relu matmul (relu less where)");
  EXPECT_EQ(units("%z"), "relu matmul (less where)");
}

// m is half of h's bytes, q as many: 8 bytes an element are not moved and 6 are, but 6 would live
// on.
TEST(RecomputeCheap, ThePeakDoesNotGrow) {
  const auto units = [](const char* end) {
    return Units(StrCat(R"(input %x "x": float32[2048, 2048]
input %y "y": float16[2048, 2048]
%p: float16[2048, 2048] = matmul@1(%y, %y)
%q: float32[2048, 2048] = matmul@1(%x, %x)
%c: float32[2048, 2048] = cast@1(%p) {dtype = float32}
%h: float32[2048, 2048] = add@1(%c, %q)
%a: float32[2048, 2048] = abs@1(%h)
%m: float32[2048, 2048] = matmul@1(%a, %x)
%t: float32[2048, 2048] = multiply@1(%h, %m)
output "t" %t
)",
                        end));
  };
  EXPECT_EQ(units(""), "matmul matmul (cast add abs) matmul multiply");
  EXPECT_EQ(units("output \"q\" %q\n"), "matmul matmul (cast add abs) matmul (cast add multiply)");
}

// An update in place would have to wait for the late reader.
TEST(RecomputeCheap, StateThatIsWrittenIsReadOnce) {
  const auto units = [](const char* end) {
    return Units(StrCat(R"(input %x "x": float32[2048, 2048]
state %s "s": float32[2048]
%m: float32[2048, 2048] = matmul@1(%x, %x)
%h: float32[2048, 2048] = add@1(%m, %s)
%a: float32[2048, 2048] = abs@1(%h)
%g: float32[2048, 2048] = matmul@1(%a, %x)
%d: float32[2048, 2048] = multiply@1(%g, %h)
%n: float32[2048] = sum@1(%d) {axis = ints[0]}
output "n" %n
)",
                        end));
  };
  EXPECT_EQ(units(""), "matmul (add abs) matmul (add multiply sum)");
  EXPECT_EQ(units("update %s = %n\n"), "matmul (add abs) matmul (multiply sum)");
}

// What lies in a cache is read from there, and a tanh or a fold takes longer than memory.
TEST(RecomputeCheap, WhatTakesLongerThanItsReadIsRead) {
  const auto units = [](int rows, const char* op) {
    const std::string type = StrCat("[", rows, ", 1024] = ");
    return Units(StrCat("input %x \"x\": float32[", rows,
                        ", 1024]\ninput %w \"w\": float32[1024, 1024]\n", "%e: float32", type, op,
                        "(%x)\n%a: float32", type, "abs@1(%e)\n%m: float32", type,
                        "matmul@1(%a, %w)\n%f: bool", type, "less@1(%m, %a)\n%t: float32", type,
                        "where@1(%f, %m, %x)\noutput \"t\" %t\n"));
  };
  EXPECT_EQ(units(1024, "square@1"), "(square abs) matmul (less where)");
  EXPECT_EQ(units(1025, "square@1"), "(square abs) matmul (square abs less where)");
  EXPECT_EQ(units(1025, "tanh@1"), "(tanh abs) matmul (less where)");
  EXPECT_EQ(units(1025, "softmax@1"), "(softmax abs) matmul (less where)");
}

// Of which one reads what the other one makes.
TEST(RecomputeCheap, TwoReaders) {
  EXPECT_EQ(Units(R"(input %x "x": float32[2048, 2048]
%h: float32[2048, 2048] = square@1(%x)
%a: float32[2048, 2048] = abs@1(%h)
%m: float32[2048, 2048] = matmul@1(%a, %x)
%s: float32[2048, 2048] = add@1(%m, %h)
%n: float32[2048, 2048] = matmul@1(%s, %x)
%t: float32[2048, 2048] = subtract@1(%n, %h)
%u: float32[2048, 2048] = multiply@1(%t, %s)
output "u" %u
)"),
            "(square abs) matmul (square add) matmul (square subtract multiply)");
}

// What runs when a variable was written is read every time.
TEST(RecomputeCheap, WhatIsKeptStaysKept) {
  EXPECT_EQ(Units(R"(input %x "x": float32[2048, 2048]
state %w "w": float32[2048, 2048]
%s: float32[2048, 2048] = square@1(%w)
%m: float32[2048, 2048] = multiply@1(%x, %s)
output "m" %m
)"),
            "square multiply");
}

}  // namespace
}  // namespace ostria
