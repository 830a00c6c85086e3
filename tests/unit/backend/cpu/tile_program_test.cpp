// SPDX-License-Identifier: Apache-2.0
// What instructions become as steps, and that the steps compute what the reference does.
#include "backend/cpu/tile_program.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "isa_test_util.h"

namespace ostria::cpu {
namespace {

using Kind = TileStep::Kind;

int Steps(const TileProgram& p, Kind kind) {
  int count = 0;
  for (const auto* levels : {&p.row_steps, &p.steps}) {
    for (const auto& steps : *levels) {
      count += static_cast<int>(std::count_if(steps.begin(), steps.end(),
                                              [&](const TileStep& s) { return s.kind == kind; }));
    }
  }
  return count;
}

// Programs over [37, 600], of float32.
constexpr int64_t kRows = 37, kCols = 600, kN = kRows * kCols;

// `ptrs`: inputs and outputs.
void RunOn(const TileProgram& tiles, std::vector<void*> ptrs) {
  std::vector<double> workspace(static_cast<size_t>(WorkspaceBytes(tiles)) / 8 + 16);
  void* const aligned = workspace.data();
  ptrs.push_back(static_cast<char*>(aligned) + (64 - reinterpret_cast<uintptr_t>(aligned) % 64));
  RunTiles(tiles, ptrs.data());
}

TileProgram Check(const std::string& text) {
  const LoopProgram program = ParseLoop(text);
  std::string why;
  const auto tiles = MakeTiles(program, 2, &why);
  EXPECT_TRUE(tiles.has_value()) << why;
  std::vector<std::vector<float>> memory;
  std::vector<void*> ptrs;
  std::vector<const void*> inputs;
  for (size_t k = 0; k < program.inputs.size(); ++k) {
    memory.push_back(Numbers(kN, -3, 3, static_cast<uint32_t>(k + 1)));
    ptrs.push_back(memory.back().data());
    inputs.push_back(memory.back().data());
  }
  const size_t outputs = program.outputs.size();
  std::vector<std::vector<float>> got(outputs, std::vector<float>(kN)), want = got;
  std::vector<void*> reference;
  for (size_t k = 0; k < outputs; ++k) {
    ptrs.push_back(got[k].data());
    reference.push_back(want[k].data());
  }
  RunOn(*tiles, ptrs);
  RunReference(program, inputs, reference);
  for (size_t k = 0; k < outputs; ++k) {
    double largest = 1;
    for (float x : want[k]) largest = std::max<double>(largest, std::fabs(x));
    for (int64_t i = 0; i < kN; ++i) {
      EXPECT_NEAR(got[k][i], want[k][i], 1e-5 * largest) << k << " at " << i;
    }
  }
  return *tiles;
}

// softmax(a + b) * a
constexpr const char* kSoftmaxGroup = R"(loop [37, 600] columns 1
input float32 [600, 1]
input float32 [600, 1]
%0 = load float32 input 0
%1 = load float32 input 1
%2 = add float32 %0 %1
%3 = fold_cols float32 max %2
%4 = subtract float32 %2 %3
%5 = exp float32 %4
%6 = fold_cols float32 sum %5
%7 = divide float32 %5 %6
%8 = multiply float32 %7 %0
output float32 [600, 1] %8
)";

TEST(TileProgram, SoftmaxIsOneStepOverWholeRows) {
  ForEachIsa([] {
    const TileProgram p = Check(kSoftmaxGroup);
    EXPECT_EQ(Steps(p, Kind::kSoftmax), 1);
    EXPECT_EQ(Steps(p, Kind::kFoldCols), 0);
    EXPECT_EQ(Steps(p, Kind::kFunction), 2);  // add, multiply
  });
}

TEST(TileProgram, SoftmaxWhosePartsAreReadElsewhereIsNoSuchStep) {
  std::string text = kSoftmaxGroup;
  text.replace(text.find("%7 %0\n"), 6, "%7 %5\n");  // the exponentials are read once more
  const TileProgram p = Check(text);
  EXPECT_EQ(Steps(p, Kind::kSoftmax), 0);
  EXPECT_EQ(Steps(p, Kind::kFoldCols), 2);
}

// layer_norm(a + b), its means and 1 / deviations
constexpr const char* kNormGroup = R"(loop [37, 600] columns 1
input float32 [600, 1]
input float32 [600, 1]
input float32 [0, 1]
input float32 [0, 1]
%0 = load float32 input 0
%1 = load float32 input 1
%2 = add float32 %0 %1
%3 = fold_cols float32 sum %2
%4 = number float32 {0.0016666666666666668}
%5 = multiply float32 %3 %4
%6 = subtract float32 %2 %5
%7 = square float32 %6
%8 = fold_cols float32 sum %7
%9 = multiply float32 %8 %4
%10 = number float32 {0.001}
%11 = add float32 %9 %10
%12 = rsqrt float32 %11
%13 = multiply float32 %6 %12
%14 = load float32 input 2
%15 = multiply float32 %13 %14
%16 = load float32 input 3
%17 = add float32 %15 %16
output float32 [600, 1] %17
output float32 [1, 0] %5
output float32 [1, 0] %12
)";

TEST(TileProgram, NormalisationIsOneStepOverWholeRows) {
  ForEachIsa([] {
    const TileProgram p = Check(kNormGroup);
    EXPECT_EQ(Steps(p, Kind::kNorm), 1);
    EXPECT_EQ(Steps(p, Kind::kFoldCols), 0);
    EXPECT_EQ(Steps(p, Kind::kFunction), 1);  // add
  });
}

TEST(TileProgram, NormalisationByAnotherNumberOfColumnsIsNoSuchStep) {
  std::string text = kNormGroup;
  text.replace(text.find("{0.0016"), 23, "{0.0017}");
  EXPECT_EQ(Steps(Check(text), Kind::kNorm), 0);
}

TEST(TileProgram, RmsNormalisationIsOneStepOverWholeRows) {
  ForEachIsa([] {
    const TileProgram p = Check(R"(loop [37, 600] columns 1
input float32 [600, 1]
input float32 [0, 1]
%0 = load float32 input 0
%1 = square float32 %0
%2 = fold_cols float32 sum %1
%3 = number float32 {0.0016666666666666668}
%4 = multiply float32 %2 %3
%5 = rsqrt float32 %4
%6 = multiply float32 %0 %5
%7 = load float32 input 1
%8 = multiply float32 %6 %7
%9 = negative float32 %8
output float32 [600, 1] %9
)");
    EXPECT_EQ(Steps(p, Kind::kNorm), 1);
    EXPECT_EQ(Steps(p, Kind::kFoldCols), 0);
    EXPECT_EQ(Steps(p, Kind::kFunction), 1);  // negative
  });
}

// of x, scale, means, 1 / deviations and a - x
TEST(TileProgram, TheGradientOfNormalisationIsOneStepOverWholeRows) {
  ForEachIsa([] {
    const TileProgram p = Check(R"(loop [37, 600] columns 1
input float32 [600, 1]
input float32 [600, 1]
input float32 [0, 1]
input float32 [1, 0]
input float32 [1, 0]
%0 = load float32 input 0
%1 = load float32 input 1
%2 = load float32 input 2
%3 = load float32 input 3
%4 = load float32 input 4
%5 = subtract float32 %0 %1
%6 = subtract float32 %1 %3
%7 = multiply float32 %6 %4
%8 = multiply float32 %5 %2
%9 = fold_cols float32 sum %8
%10 = number float32 {0.0016666666666666668}
%11 = multiply float32 %9 %10
%12 = multiply float32 %8 %7
%13 = fold_cols float32 sum %12
%14 = multiply float32 %13 %10
%15 = subtract float32 %8 %11
%16 = multiply float32 %7 %14
%17 = subtract float32 %15 %16
%18 = multiply float32 %5 %7
%19 = fold_rows float32 sum %18
%20 = fold_rows float32 sum %5
%21 = multiply float32 %17 %4
%22 = add float32 %21 %0
output float32 [600, 1] %22
output float32 [0, 1] %19
output float32 [0, 1] %20
)");
    EXPECT_EQ(Steps(p, Kind::kNormGrad), 1);
    EXPECT_EQ(Steps(p, Kind::kFoldCols) + Steps(p, Kind::kFoldRows), 0);
    EXPECT_EQ(Steps(p, Kind::kFunction), 2);  // subtract, add
  });
}

// (a - sum(a b)) b: of softmax's gradient
TEST(TileProgram, TheSumOfAProductIsOneStep) {
  ForEachIsa([] {
    const TileProgram p = Check(R"(loop [37, 600] columns 1
input float32 [600, 1]
input float32 [600, 1]
%0 = load float32 input 0
%1 = load float32 input 1
%2 = multiply float32 %0 %1
%3 = fold_cols float32 sum %2
%4 = number float32 {0.001}
%5 = multiply float32 %3 %4
%6 = subtract float32 %0 %5
%7 = multiply float32 %6 %1
output float32 [600, 1] %7
)");
    EXPECT_EQ(Steps(p, Kind::kFoldCols), 1);
    EXPECT_EQ(Steps(p, Kind::kFunction), 2);  // per row; subtract and multiply
  });
}

TEST(TileProgram, CheapFunctionsShareALoop) {
  const TileProgram p = Check(R"(loop [37, 600] columns 0
input float32 [600, 1]
input float32 [600, 1]
%0 = load float32 input 0
%1 = load float32 input 1
%2 = multiply float32 %0 %1
%3 = subtract float32 %1 %2
%4 = tanh float32 %3
%5 = add float32 %4 %3
output float32 [600, 1] %5
)");
  EXPECT_EQ(Steps(p, Kind::kFunction), 3);  // multiply and subtract, tanh, add
}

// More columns than are joined in one go, and pieces whose sums no half type holds.
TEST(TileProgram, AFoldOverRowsIsRoundedOnceItsPiecesAreJoined) {
  constexpr int64_t kTall = 1003, kWide = 2500;
  const LoopProgram program = ParseLoop(R"(loop [1003, 2500] columns 1
input float32 [2500, 1]
%0 = load float32 input 0
%1 = fold_rows float32 sum %0
output bfloat16 [0, 1] %1
output float32 [0, 1] %1
)");
  std::vector<float> x(kTall * kWide);
  for (int64_t i = 0; i < kTall * kWide; ++i) x[i] = static_cast<float>(1 + i % kWide % 97);
  for (int threads : {1, 2}) {
    std::string why;
    const auto tiles = MakeTiles(program, threads, &why);
    ASSERT_TRUE(tiles.has_value()) << why;
    ASSERT_GT(tiles->pieces, 1);
    std::vector<BFloat16> low(kWide);
    std::vector<float> sums(kWide);
    WithThreads(threads, [&] { RunOn(*tiles, {x.data(), low.data(), sums.data()}); });
    for (int64_t c = 0; c < kWide; ++c) {
      const float want = static_cast<float>(kTall * (1 + c % 97));
      ASSERT_EQ(low[c].bits, BFloat16(want).bits) << c;
      ASSERT_EQ(sums[c], want) << c;
    }
  }
}

}  // namespace
}  // namespace ostria::cpu
