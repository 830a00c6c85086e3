// SPDX-License-Identifier: Apache-2.0
#include "loop/program.h"

#include <gtest/gtest.h>

#include "loop/build.h"
#include "tests/unit/loop/random_body.h"

namespace ostria {
namespace {

constexpr std::string_view kSoftmax = R"(loop [2, 3] columns 1
input float32 [3, 1]
%0 = load float32 input 0
%1 = fold_cols float32 max %0
%2 = subtract float32 %0 %1
%3 = exp float32 %2
%4 = fold_cols float32 sum %3
%5 = divide float32 %3 %4
output float32 [3, 1] %5
)";

std::string MessageOf(std::string_view text) {
  try {
    ParseLoop(text);
  } catch (const Error& e) {
    return std::string(e.message());
  }
  return "accepted";
}

std::string Replaced(std::string_view from, std::string_view to) {
  std::string text(kSoftmax);
  return text.replace(text.find(from), from.size(), to);
}

TEST(LoopProgram, TextIsReadBack) { EXPECT_EQ(Print(ParseLoop(kSoftmax)), kSoftmax); }

TEST(LoopProgram, SoftmaxIsWhatTheReferenceSays) {
  const LoopProgram p = ParseLoop(kSoftmax);
  const float x[6] = {0, 0, 0, 1, 2, 3};
  float y[6];
  const void* in[] = {x};
  void* out[] = {y};
  RunReference(p, in, out);
  EXPECT_FLOAT_EQ(y[0], 1.0f / 3);
  EXPECT_FLOAT_EQ(y[5], std::exp(3.0f) / (std::exp(1.0f) + std::exp(2.0f) + std::exp(3.0f)));
}

TEST(LoopProgram, ASoftmaxGraphBecomesThatProgram) {
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {DType::kFloat32, {2, 3}}, 0);
  g.AddOutput("y", b(ops::kSoftmax, {x}));
  std::string why;
  const auto p = BuildLoop(g, &why);
  ASSERT_TRUE(p) << why;
  EXPECT_EQ(Print(*p), kSoftmax);
}

TEST(LoopProgram, MistakesAreNamed) {
  EXPECT_EQ(MessageOf(Replaced("%2 = subtract float32 %0 %1", "%2 = subtract float32 %0 %7")),
            "loop: %2: argument 1 is not an earlier value");
  EXPECT_EQ(MessageOf(Replaced("exp float32", "exp int32")),
            "loop: %3: exp of float32 is not int32");
  EXPECT_EQ(MessageOf(Replaced("exp float32", "bitwise_invert float32")),
            "loop: %3: bitwise_invert is not defined for float32");
  EXPECT_EQ(MessageOf(Replaced("exp", "expp")), "loop, line 6: 'expp' is no instruction");
  EXPECT_EQ(MessageOf(Replaced("output float32 [3, 1]", "output float32 [0, 1]")),
            "loop: output 0 writes different values to one place along axis 0");
  EXPECT_EQ(MessageOf(Replaced("fold_cols float32 max", "fold_rows float32 max")),
            "loop: %2: argument 1 is a fold over rows, which can only be stored");
  EXPECT_EQ(MessageOf(Replaced("[2, 3]", "[2, 0]")), "loop: the size [2, 0] is empty or too large");
}

TEST(LoopProgram, RandomProgramsAreReadBack) {
  for (uint32_t seed = 0; seed < 2000; ++seed) {
    const Graph g = RandomBody(seed).Make();
    std::string why;
    const auto p = BuildLoop(g, &why);
    ASSERT_TRUE(p) << seed << ": " << why << "\n" << Print(g);
    const std::string text = Print(*p);
    const LoopProgram again = ParseLoop(text);
    ASSERT_EQ(again, *p) << seed << "\n" << text;
    ASSERT_EQ(Print(again), text) << seed;
  }
}

}  // namespace
}  // namespace ostria
