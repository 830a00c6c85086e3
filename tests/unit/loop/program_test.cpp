// SPDX-License-Identifier: Apache-2.0
#include "loop/program.h"

#include <gtest/gtest.h>

#include <limits>

#include "kernels/scalar/philox.h"
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

std::string Replaced(std::string_view program, std::string_view from, std::string_view to) {
  std::string text(program);
  return text.replace(text.find(from), from.size(), to);
}
std::string Replaced(std::string_view from, std::string_view to) {
  return Replaced(kSoftmax, from, to);
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

// Rows that are wider than the loop's: the same program, at the strides of the input.
TEST(LoopProgram, ALeadingSliceIsReadWhereItLies) {
  using Ints = std::vector<int64_t>;
  const auto build = [](const Shape& shape, const Ints& start, const Ints& stop, bool whole) {
    Graph g;
    Builder b(g, 0);
    const Value x = g.AddInput("x", {DType::kFloat32, shape}, 0);
    g.AddOutput("y", b(ops::kSoftmax, {b(ops::kSlice, {x}, {start, stop, Ints{}})}));
    if (whole) g.AddOutput("z", b(ops::kExp, {x}));
    return BuildLoop(g);
  };
  const auto p = build({3, 4}, {0, 0}, {2, 3}, false);
  ASSERT_TRUE(p);
  EXPECT_EQ(Print(*p), Replaced("input float32 [3, 1]", "input float32 [4, 1]"));
  EXPECT_FALSE(build({3, 4}, {0, 1}, {2, 4}, false));  // not the first columns
  EXPECT_FALSE(build({2, 4}, {0, 0}, {2, 3}, true));   // the others are read too
}

constexpr std::string_view kDropout = R"(loop [2, 3] columns 1
input float32 [3, 1]
input int64 [0, 0]
input int64 [0, 0]
%0 = load float32 input 0
%1 = load int64 input 2
%2 = number int64 {3}
%3 = multiply int64 %1 %2
%4 = draw bool input 1 %3 {0.75} stream 4611686018427387905
%5 = number float32 {1.3333333333333333}
%6 = multiply float32 %0 %5
%7 = number float32 {0}
%8 = where float32 %4 %6 %7
output float32 [3, 1] %8
)";

// The key is no value of the space: it may be larger than all of them.
TEST(LoopProgram, ADropoutGraphBecomesADraw) {
  for (const Shape& shape : {Shape{2, 3}, Shape{1}}) {
    Graph g;
    Builder b(g, 0);
    const Value x = g.AddInput("x", {DType::kFloat32, shape}, 0);
    const Value key = g.AddInput("key", {DType::kInt64, {2}}, 0);
    const Value offset = g.AddInput("offset", {DType::kInt64, {}}, 0);
    g.AddOutput("y", b(ops::kDropout, {x, key, offset}, {0.25, (int64_t{1} << 62) + 1}));
    std::string why;
    const auto p = BuildLoop(g, &why);
    ASSERT_TRUE(p) << why;
    if (shape.rank() == 2) {
      EXPECT_EQ(Print(*p), kDropout);
    }
    EXPECT_EQ(ParseLoop(Print(*p)), *p);
  }
}

// Reductions of integers and booleans on a GPU are such programs.
TEST(LoopProgram, IntegersFoldInTheirOwnTypeAndWrap) {
  const auto fold = [](std::string_view dtype, std::string_view how, auto a, auto b) {
    std::string text = StrCat("loop [2] columns 1\ninput ", dtype, " [1]\n%0 = load ", dtype);
    text +=
        StrCat(" input 0\n%1 = fold_cols ", dtype, " ", how, " %0\noutput ", dtype, " [0] %1\n");
    const decltype(a) x[] = {a, b};
    decltype(a) y{};
    const void* in[] = {x};
    void* out[] = {&y};
    RunReference(ParseLoop(text), in, out);
    return y;
  };
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(fold("int64", "sum", kMost, int64_t{1}), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(fold("int64", "min", kMost, kMost - 1), kMost - 1);
  EXPECT_EQ(fold("int8", "prod", int8_t{16}, int8_t{17}), int8_t{16});
  EXPECT_EQ(fold("uint8", "max", uint8_t{3}, uint8_t{200}), 200);
  EXPECT_TRUE(fold("bool", "max", false, true));
  EXPECT_FALSE(fold("bool", "min", false, true));
}

// The known answer of Philox4x32-10 for counter 0 and key 0.
TEST(LoopProgram, ADrawIsTheWordOfItsElement) {
  constexpr uint32_t kWords[] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  const LoopProgram p = ParseLoop(Replaced(kDropout, "{0.75}", "{0.65}"));
  for (int64_t first : {0, 1}) {
    const float x[6] = {1, 1, 1, 1, 1, 1};
    const int64_t key[2] = {static_cast<int64_t>(kernels::MixStream((uint64_t{1} << 62) + 1)),
                            0};  // cancels the stream
    float y[6];
    const void* in[] = {x, key, &first};
    void* out[] = {y};
    RunReference(p, in, out);
    for (int64_t i = 0; i + 3 * first < 4; ++i) {
      EXPECT_EQ(y[i] != 0, kWords[i + 3 * first] / 0x1p32 < 0.65) << i << " of " << first;
    }
  }
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
  EXPECT_EQ(MessageOf(Replaced(kDropout, "draw bool input 1", "draw bool input 0")),
            "loop: %4: there is no int64 input 0 to be the key");
  EXPECT_EQ(MessageOf(Replaced(kDropout, "{0.75}", "{1.5}")),
            "loop: %4: a draw's share is in [0, 1]");
  EXPECT_EQ(MessageOf(Replaced(kDropout, "draw bool", "draw int32")), "loop: %4: a draw is bool");
  EXPECT_EQ(MessageOf(Replaced(kDropout, "stream", "strand")), "loop, line 9: 'stream' is missing");
  EXPECT_EQ(MessageOf(Replaced(kDropout, "load int64 input 2", "index int64 axis 0")),
            "loop: %4: the number of the first element is not the same everywhere");
}

TEST(LoopProgram, RandomProgramsAreReadBack) {
  int built = 0;
  for (uint32_t seed = 0; built < 2000; ++seed) {
    ASSERT_LT(seed, 2200);
    const Graph g = RandomBody(seed).Make();
    const auto p = BuildLoop(g);
    if (!p) continue;  // some normalise over other axes than they fold
    ++built;
    const std::string text = Print(*p);
    const LoopProgram again = ParseLoop(text);
    ASSERT_EQ(again, *p) << seed << "\n" << text;
    ASSERT_EQ(Print(again), text) << seed;
  }
}

}  // namespace
}  // namespace ostria
