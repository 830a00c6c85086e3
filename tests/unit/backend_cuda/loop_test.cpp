// SPDX-License-Identifier: Apache-2.0
// Generated kernels on the host against the reference.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <map>

#include "backend_cuda/evaluate.h"
#include "backend_cuda/loop_programs.h"
#include "loop/build.h"
#include "tests/unit/loop/random_body.h"

namespace ostria {
namespace {

struct Case {
  uint32_t seed;
  LoopProgram program;
  std::vector<Tensor> inputs, like;
};

Case MakeCase(uint32_t seed, RandomBody* random, const Graph& body, LoopProgram program) {
  Case c{seed, std::move(program), {}, {}};
  for (Value v : body.inputs()) c.inputs.push_back(random->Data(body.type(v)));
  for (Value v : body.outputs()) c.like.push_back(Tensor::Empty(body.dtype(v), body.shape(v)));
  return c;
}

TEST(CudaLoop, RandomProgramsAgreeWithTheReference) {
  std::vector<Case> cases;
  std::map<std::string_view, int> forms;
  for (uint32_t seed = 0; cases.size() < 320; ++seed) {
    RandomBody random(seed);
    const Graph body = random.Make();
    const auto program = BuildLoop(body);
    if (!program) continue;
    std::string why;
    const auto loop = cuda::GenerateLoop(*program, Sm90(), &why);
    ASSERT_TRUE(loop) << why << "\n" << Print(*program);
    ++forms[loop->form];
    cases.push_back(MakeCase(seed, &random, body, *program));
    ExpectLoop(*program);
  }
  for (const char* form : {"flat", "rows", "columns"}) EXPECT_GE(forms[form], 10) << form;
  for (const Case& c : cases) {
    const std::string what = StrCat("seed ", c.seed, "\n", Print(c.program));
    const std::vector<Tensor> want = RunLoopReference(c.program, c.inputs, c.like);
    // Other starts in memory take other paths; other orders of the threads must change nothing.
    const std::vector<Tensor> got = RunLoop(c.program, c.inputs, c.like, 0);
    SetThreadOrder(c.seed);
    const std::vector<Tensor> skewed = RunLoop(c.program, c.inputs, c.like, 1 + c.seed % 3);
    const std::vector<Tensor> placed = RunLoop(c.program, c.inputs, c.like, 0, true);
    for (size_t k = 0; k < want.size(); ++k) {
      ExpectLoopClose(got[k], want[k], StrCat("output ", k, ", ", what));
      ASSERT_EQ(std::memcmp(got[k].raw(), skewed[k].raw(), static_cast<size_t>(got[k].bytes())), 0)
          << "misaligned, output " << k << ", " << what;
      ASSERT_EQ(std::memcmp(got[k].raw(), placed[k].raw(), static_cast<size_t>(got[k].bytes())), 0)
          << "in place, output " << k << ", " << what;
    }
    if (HasFatalFailure() || HasNonfatalFailure()) return;
  }
}

struct Width {
  int64_t rows, columns;
};

// Rows of a few lanes, of a warp, of blocks of several sizes, and too long for registers; whole
// vectors and odd ends.
constexpr Width kWidths[] = {{700, 3},  {37, 8},   {9, 31},   {5, 64},   {21, 129},  {3, 1000},
                             {3, 1024}, {3, 2052}, {2, 4099}, {2, 8200}, {2, 20000}, {3, 40000}};

void CheckWidths(const std::function<Graph(const Width&)>& make, bool infinities) {
  std::vector<Case> cases;
  for (const Width& w : kWidths) {
    RandomBody random(static_cast<uint32_t>(w.columns));
    const Graph body = make(w);
    const auto program = BuildLoop(body);
    ASSERT_TRUE(program);
    cases.push_back(MakeCase(static_cast<uint32_t>(w.columns), &random, body, *program));
    ExpectLoop(*program);
    if (!infinities) continue;
    auto* x = cases.back().inputs[0].data<float>();
    x[1] = -INFINITY;
    x[w.columns + 2] = NAN;
  }
  for (const Case& c : cases) {
    const std::string what = StrCat(c.seed, " columns");
    const std::vector<Tensor> want = RunLoopReference(c.program, c.inputs, c.like);
    const std::vector<Tensor> got = RunLoop(c.program, c.inputs, c.like, 0);
    SetThreadOrder(c.seed);
    const std::vector<Tensor> placed = RunLoop(c.program, c.inputs, c.like, 3, true);
    for (size_t k = 0; k < want.size(); ++k) {
      ExpectLoopClose(got[k], want[k], what);
      ASSERT_EQ(std::memcmp(got[k].raw(), placed[k].raw(), static_cast<size_t>(got[k].bytes())), 0)
          << what;
    }
    if (testing::Test::HasFailure()) return;
  }
}

TEST(CudaLoop, RowsOfAnyLengthAreSoftmaxed) {
  CheckWidths(
      [](const Width& w) {
        Graph g;
        Builder b(g, 0);
        const Value x =
            g.AddInput("x", {DType::kFloat32, Shape::FromSizes({{w.rows, w.columns}})}, 0);
        g.AddOutput("y", b(ops::kSoftmax, {x}, {int64_t{-1}}));
        return g;
      },
      true);
}

// Folds over columns and over rows in one kernel.
TEST(CudaLoop, RowsOfAnyLengthFoldBothWays) {
  CheckWidths(
      [](const Width& w) {
        Graph g;
        Builder b(g, 0);
        const Shape whole = Shape::FromSizes({{w.rows, w.columns}});
        const auto in = [&](const Shape& shape) {
          return g.AddInput("x", {DType::kFloat32, shape}, 0);
        };
        const Value dy = in(whole), x = in(whole), scale = in(Shape::FromSizes({{w.columns}}));
        const Value mean = in(Shape::FromSizes({{w.rows}}));
        const Value rstd = in(Shape::FromSizes({{w.rows}}));
        const auto out = b.Multi(ops::kLayerNormGrad, {dy, x, scale, mean, rstd}, {int64_t{1}});
        for (Value v : out) g.AddOutput("y", v);
        return g;
      },
      false);
}

// Inputs whose rows are wider than the loop's, as products leave them that were padded: what lies
// behind counts for nothing. A loop of every form.
TEST(CudaLoop, WiderRowsAreReadWhereTheyLie) {
  const auto make = [](const Width& w, const OpDef& op, std::vector<Attr> attrs) {
    using Ints = std::vector<int64_t>;
    Graph g;
    Builder b(g, 0);
    const int64_t wide = w.columns + 8 - w.columns % 8;
    const Value x = g.AddInput("x", {DType::kFloat32, Shape::FromSizes({{w.rows, wide}})}, 0);
    const Value y = g.AddInput("y", {DType::kFloat32, Shape::FromSizes({{w.rows, w.columns}})}, 0);
    const Value cut = b(ops::kSlice, {x}, {Ints{0, 0}, Ints{w.rows, w.columns}, Ints{}});
    g.AddOutput("z", b(op, {b(ops::kMultiply, {cut, y})}, std::move(attrs)));
    return g;
  };
  CheckWidths([&](const Width& w) { return make(w, ops::kLogSoftmax, {int64_t{-1}}); }, false);
  CheckWidths([&](const Width& w) { return make(w, ops::kTanh, {}); }, false);
  CheckWidths(
      [&](const Width& w) {
        return make(w, ops::kSum, {std::vector<int64_t>{0}, false});
      },
      false);
}

// Blocks that take row after row, and gather over them.
TEST(CudaLoop, BlocksThatTakeManyRowsKeepThemApart) {
  const LoopProgram p = ParseLoop(
      "loop [24, 2500] columns 1\ninput float32 [2500, 1]\n%0 = load float32 input 0\n"
      "%1 = fold_cols float32 sum %0\n%2 = multiply float32 %0 %1\n"
      "%3 = fold_rows float32 sum %2\noutput float32 [0, 1] %3\noutput float32 [1, 0] %1\n");
  const std::vector<Tensor> in = {RandomTensor(DType::kFloat32, {24, 2500}, -1, 1, 1)};
  const std::vector<Tensor> like = {Tensor::Empty(DType::kFloat32, {2500}),
                                    Tensor::Empty(DType::kFloat32, {24})};
  const std::vector<Tensor> want = RunLoopReference(p, in, like);
  for (uint64_t seed = 0; seed < 3; ++seed) {
    SetThreadOrder(seed);
    const std::vector<Tensor> got = RunLoop(p, in, like);
    for (size_t k = 0; k < 2; ++k) ExpectLoopClose(got[k], want[k], StrCat("output ", k));
  }
}

TEST(CudaLoop, LargeSpacesHaveWideIndices) {
  const auto text_of = [](int64_t rows) {
    LoopProgram p = ParseLoop(
        "loop [4, 64] columns 1\ninput float32 [64, 1]\n%0 = load float32 input 0\n"
        "%1 = negative float32 %0\noutput float32 [64, 1] %1\n");
    p.sizes[0] = rows;
    return cuda::GenerateLoop(p, Sm90())->text;
  };
  constexpr int64_t kRows = (int64_t{1} << 31) / 64;  // whose elements 32 bits no longer number
  EXPECT_NE(text_of(kRows - 1).find("using Index = uint32_t"), std::string::npos);
  EXPECT_NE(text_of(kRows).find("using Index = uint64_t"), std::string::npos);
}

// Folds over rows: float32 sums of pieces, whose number follows from the sizes, and a second
// kernel.
TEST(CudaLoop, ColumnsLeavePartialSumsForASecondKernel) {
  const auto of = [](int64_t rows, int multiprocessors) {
    LoopProgram p = ParseLoop(
        "loop [4, 768] columns 1\ninput bfloat16 [768, 1]\n%0 = load float32 input 0\n"
        "%1 = fold_rows float32 sum %0\noutput bfloat16 [0, 1] %1\n");
    p.sizes[0] = rows;
    DeviceProps device = Sm90();
    device.multiprocessors = multiprocessors;
    return *cuda::GenerateLoop(p, device);
  };
  const cuda::GeneratedLoop many = of(8192, 132);
  EXPECT_EQ(many.form, "columns");
  ASSERT_EQ(many.launches.size(), 2u);
  const unsigned pieces = many.launches[0].shape.grid[1];
  EXPECT_GT(pieces, 1u);
  EXPECT_EQ(many.workspace_bytes, int64_t{pieces} * 768 * 4);
  EXPECT_EQ(of(8192, 7).launches[0].shape.grid[1], pieces);
  EXPECT_EQ(many.text.find("atomic"), std::string::npos);
  EXPECT_EQ(of(8, 132).launches.size(), 1u);
}

TEST(CudaLoop, OutputsLieOnInputsOfTheSameElements) {
  const auto alias = [](std::string_view text) {
    return cuda::GenerateLoop(ParseLoop(text), Sm90())->alias_ok[0];
  };
  const std::vector<bool> first = {true, false};
  EXPECT_EQ(alias("loop [4, 6] columns 1\ninput float32 [6, 1]\ninput float32 [0, 1]\n"
                  "%0 = load float32 input 0\n%1 = load float32 input 1\n"
                  "%2 = add float32 %0 %1\noutput float32 [6, 1] %2\n"),
            first);
  EXPECT_EQ(alias("loop [4, 6] columns 1\ninput bfloat16 [6, 1]\ninput float32 [1, 4]\n"
                  "%0 = load float32 input 0\n%1 = load float32 input 1\n"
                  "%2 = add float32 %0 %1\noutput bfloat16 [6, 1] %2\n"),
            first);
  // Rows too long to be kept: the second pass reads what the first would have overwritten.
  const auto twice = [&](const std::string& n) {
    return alias("loop [4, " + n + "] columns 1\ninput float32 [" + n + ", 1]\ninput float32 [" +
                 n +
                 ", 1]\n%0 = load float32 input 0\n%1 = load float32 input 1\n"
                 "%2 = exp float32 %0\n%3 = fold_cols float32 sum %2\n"
                 "%4 = multiply float32 %3 %0\n%5 = multiply float32 %4 %1\n"
                 "output float32 [" +
                 n + ", 1] %2\noutput float32 [" + n + ", 1] %5\n");
  };
  EXPECT_EQ(twice("90000"), first);
  EXPECT_EQ(twice("900000"), (std::vector<bool>{false, false}));
}

}  // namespace
}  // namespace ostria
