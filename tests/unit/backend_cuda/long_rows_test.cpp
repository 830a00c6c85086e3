// SPDX-License-Identifier: Apache-2.0
// Generated loops over rows that are too long for registers, against the reference: what is read
// again of them, and exponentials below a maximum that is still being looked for.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "backend/backend.h"
#include "backend/cuda/codegen/exponentials.h"
#include "backend_cuda/evaluate.h"
#include "backend_cuda/loop_programs.h"
#include "ir/builder.h"
#include "loop/build.h"
#include "ops/ops.h"
#include "runtime/plan.h"

namespace ostria {

Backend* CudaBackend();

namespace {

constexpr float kInfinity = INFINITY;

LoopProgram ProgramOf(const OpDef& op, const std::vector<Attr>& attrs, const Shape& shape,
                      DType dtype, int operands = 1) {
  Graph g;
  Builder b(g, 0);
  std::vector<Value> in;
  for (int i = 0; i < operands; ++i) in.push_back(g.AddInput("x", {dtype, shape}, 0));
  g.AddOutput("y", b(op, in, attrs));
  return *BuildLoop(g);
}

std::vector<cuda::ExponentialSum> Found(const LoopProgram& p) {
  return cuda::FindExponentialSums(p);
}

LoopProgram Scaled(const std::string& scale, const std::string& fold = "max", int64_t rows = 2,
                   int64_t columns = 8) {
  return ParseLoop(StrCat("loop [", rows, ", ", columns, "] columns 1\ninput float32 [", columns,
                          ", 1]\n%0 = load float32 input 0\n%1 = fold_cols float32 ", fold,
                          " %0\n%2 = subtract float32 %0 %1\n%3 = number float32 {", scale,
                          "}\n%4 = multiply float32 %3 %2\n%5 = exp float32 %4\n",
                          "%6 = fold_cols float32 sum %5\n%7 = divide float32 %5 %6\n",
                          "output float32 [", columns, ", 1] %7\n"));
}

TEST(CudaLongRows, SumsOfExponentialsBelowAMaximumAreFound) {
  const Shape shape({2, 8});
  const std::vector<int64_t> last = {1};
  for (const OpDef* op : {&ops::kSoftmax, &ops::kLogSoftmax}) {
    const auto found = Found(ProgramOf(*op, {int64_t{-1}}, shape, DType::kBFloat16));
    ASSERT_EQ(found.size(), 1u) << op->name;
    EXPECT_FALSE(found[0].guarded);
    EXPECT_EQ(found[0].scale, 1);
  }
  const auto guarded = Found(ProgramOf(ops::kLogsumexp, {last, false}, shape, DType::kFloat64));
  ASSERT_EQ(guarded.size(), 1u);
  EXPECT_TRUE(guarded[0].guarded);
  const auto scaled = Found(Scaled("0.5"));
  ASSERT_EQ(scaled.size(), 1u);
  EXPECT_EQ(scaled[0].scale, 0.5);
  // Not below the maximum, or not of what the maximum is of.
  EXPECT_TRUE(Found(Scaled("-0.5")).empty());
  EXPECT_TRUE(Found(Scaled("0.5", "min")).empty());
  LoopProgram other = Scaled("0.5");
  other.inputs.push_back(other.inputs[0]);
  other.code.insert(other.code.begin() + 1,
                    {.kind = LoopKind::kLoad, .dtype = DType::kFloat32, .operand = 1});
  for (size_t n = 2; n < other.code.size(); ++n) {
    for (int32_t& a : other.code[n].args) a += a >= 1 ? 1 : 0;
  }
  other.outputs[0].value += 1;
  Verify(other);
  EXPECT_EQ(Found(other).size(), 1u);
  other.code[2].args[0] = 1;  // the maximum of another input
  EXPECT_TRUE(Found(other).empty());
}

// How often the kernel goes over a row that is not in registers.
int PassesOf(const LoopProgram& p) {
  const std::string text = cuda::GenerateLoop(p, Sm90())->text;
  int count = 0;
  for (size_t at = text.find("for (Index at"); at != std::string::npos; ++count) {
    at = text.find("for (Index at", at + 1);
  }
  return count;
}

TEST(CudaLongRows, MaximumAndExponentialsAreOnePass) {
  const Shape shape({4, 400000});
  const std::vector<int64_t> last = {1};
  EXPECT_EQ(PassesOf(ProgramOf(ops::kSoftmax, {int64_t{-1}}, shape, DType::kFloat32)), 2);
  EXPECT_EQ(PassesOf(ProgramOf(ops::kLogSoftmax, {int64_t{-1}}, shape, DType::kBFloat16)), 2);
  EXPECT_EQ(PassesOf(ProgramOf(ops::kLogsumexp, {last, false}, shape, DType::kFloat32)), 1);
  EXPECT_EQ(PassesOf(ProgramOf(ops::kMax, {last, false}, shape, DType::kFloat32)), 1);
  EXPECT_EQ(PassesOf(Scaled("3", "max", 4, 400000)), 2);
  EXPECT_EQ(PassesOf(Scaled("3", "min", 4, 400000)), 3);
}

// What is kept of a row, and by whom: the table of rows_plan.h.
TEST(CudaLongRows, AreKeptWhereTheyFit) {
  struct Row {
    DType dtype;
    int64_t columns;
    unsigned blocks, threads;
    int64_t kept;  // of a block, in bytes
  };
  constexpr Row kRows[] = {
      {DType::kFloat32, 8192, 1, 256, 0},           {DType::kFloat32, 20000, 1, 512, 4 * 20000},
      {DType::kBFloat16, 50257, 1, 512, 2 * 50257}, {DType::kFloat32, 50257, 2, 512, 2 * 50257},
      {DType::kBFloat16, 100000, 2, 512, 100000},   {DType::kFloat32, 100000, 2, 1024, 200000},
      {DType::kBFloat16, 200001, 2, 1024, 200001},  {DType::kFloat32, 120000, 1, 512, 0}};
  for (const Row& row : kRows) {
    SCOPED_TRACE(StrCat(row.dtype, " ", row.columns));
    const auto program = [&](int64_t rows) {
      const Shape shape = Shape::FromSizes({{rows, row.columns}});
      return ProgramOf(ops::kSoftmax, {int64_t{-1}}, shape, row.dtype);
    };
    const auto loop = cuda::GenerateLoop(program(64), Sm90());
    const cuda::LaunchShape& shape = loop->launches.at(0).shape;
    EXPECT_EQ(loop->text.find("OSTRIA_LOOP_CLUSTER") != std::string::npos, row.blocks == 2);
    // Neither block ends while the other may read what it shares.
    EXPECT_EQ(loop->text.ends_with("  SyncCluster();\n}\n"), row.blocks == 2);
    EXPECT_EQ(shape.grid[0], 64 * row.blocks);
    EXPECT_EQ(shape.block, row.threads);
    // Threads have places for whole vectors, and folds for a number of every warp, twice.
    const int64_t most = row.kept == 0 ? 0 : row.kept + 16 * row.threads + 2 * 256;
    EXPECT_GE(shape.shared_bytes, row.kept);
    EXPECT_LE(shape.shared_bytes, std::min(most, Sm90().shared_bytes));
    // Many rows are the same kernel, whose blocks take several and fill the clusters.
    const auto many = cuda::GenerateLoop(program(4000), Sm90());
    EXPECT_EQ(many->text, loop->text);
    EXPECT_EQ(many->launches.at(0).shape.grid[0] % row.blocks, 0u);
    EXPECT_LE(many->launches.at(0).shape.grid[0], 16u * 132);
  }
  // A device without clusters keeps what a block can.
  DeviceProps old = Sm90();
  old.compute_capability = 80;
  const auto kept = [&](int64_t columns) {
    const LoopProgram p = ProgramOf(ops::kSoftmax, {int64_t{-1}},
                                    Shape::FromSizes({{int64_t{4}, columns}}), DType::kFloat32);
    return cuda::GenerateLoop(p, old)->launches.at(0).shape.shared_bytes;
  };
  EXPECT_GT(kept(20000), 0u);
  EXPECT_EQ(kept(50257), 0u);
}

// Rows of what arithmetic treats apart, and of numbers that grow.
void Spoil(Tensor* x) {
  const int64_t rows = x->shape()[0].value(), columns = x->numel() / rows;
  const auto set = [&](int64_t row, int64_t column, float value) {
    const int64_t at = row * columns + column;
    DispatchDType(x->dtype(), [&]<class T>(T*) {
      if constexpr (std::is_integral_v<T>) {
        FAIL() << "integers";
      } else {
        x->data<T>()[at] = T(value);
      }
    });
  };
  ASSERT_GE(rows, 8);
  for (int64_t c = 0; c < columns; ++c) {
    if (c % 3 == 1) set(1, c, -kInfinity);
    set(2, c, -kInfinity);
    if (c < columns * 3 / 4) set(5, c, -kInfinity);
    set(6, c, static_cast<float>(c) * 160 / static_cast<float>(columns) - 80);
    set(7, c, 3);
  }
  set(3, columns / 2, kInfinity);
  set(4, columns - 1, NAN);
}

struct Case {
  std::string name;
  LoopProgram program;
  std::vector<Tensor> inputs, like;
};

void CheckAll(const std::vector<Case>& cases) {
  for (const Case& c : cases) ExpectLoop(c.program);
  uint64_t seed = 1;
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const std::vector<Tensor> want = RunLoopReference(c.program, c.inputs, c.like);
    const std::vector<Tensor> got = RunLoop(c.program, c.inputs, c.like);
    SetThreadOrder(seed++);
    const std::vector<Tensor> placed = RunLoop(c.program, c.inputs, c.like, 3, true);
    for (size_t k = 0; k < want.size(); ++k) {
      ExpectLoopClose(got[k], want[k], StrCat(c.name, ", output ", k));
      ASSERT_EQ(std::memcmp(got[k].raw(), placed[k].raw(), static_cast<size_t>(got[k].bytes())), 0)
          << "misaligned, in place, in another order";
    }
  }
}

// Of every home that a row may have, whole vectors and odd ends.
constexpr int64_t kColumns[] = {20000, 50257, 100000, 130001};

TEST(CudaLongRows, MeanWhatShortOnesMean) {
  const std::vector<int64_t> last = {1};
  std::vector<Case> cases;
  for (const int64_t columns : kColumns) {
    for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
      const Shape shape = Shape::FromSizes({{int64_t{9}, columns}});
      Tensor x = RandomTensor(dtype, shape, -4, 4, static_cast<uint64_t>(columns));
      const Tensor g = RandomTensor(dtype, shape, -1, 1, 7);
      Spoil(&x);
      const auto add = [&](const OpDef& op, const std::vector<Attr>& attrs,
                           std::vector<Tensor> inputs, const Shape& out) {
        cases.push_back({StrCat(op.name, " of ", dtype, shape),
                         ProgramOf(op, attrs, shape, dtype, static_cast<int>(inputs.size())),
                         std::move(inputs),
                         {Tensor::Empty(dtype, out)}});
      };
      add(ops::kSoftmax, {int64_t{-1}}, {x}, shape);
      if (columns == 50257) {
        add(ops::kLogSoftmax, {int64_t{-1}}, {x}, shape);
        add(ops::kLogSoftmaxGrad, {int64_t{-1}}, {g, x}, shape);
      }
      if (dtype == DType::kFloat32 && columns != 20000) {
        add(ops::kLogsumexp, {last, false}, {x}, Shape({9}));
        cases.push_back({StrCat("scaled ", columns),
                         Scaled("2.5", "max", 9, columns),
                         {x},
                         {Tensor::Empty(dtype, shape)}});
      }
    }
  }
  CheckAll(cases);
}

// Folds over rows gather beside the rows in shared memory, or where those leave no room in the
// workspace; more rows than there are pieces of them.
TEST(CudaLongRows, GatherOverRows) {
  std::vector<Case> cases;
  for (const int64_t columns : {6001, 20000, 60000, 130001}) {
    const std::string size = StrCat(columns);
    const LoopProgram p = ParseLoop(
        "loop [24, " + size + "] columns 1\ninput float32 [" + size +
        ", 1]\n%0 = load float32 input 0\n%1 = fold_cols float32 sum %0\n"
        "%2 = multiply float32 %0 %1\n%3 = fold_rows float32 sum %2\n"
        "%4 = fold_rows float32 max %0\noutput float32 [0, 1] %3\noutput float32 [0, 1] %4\n"
        "output float32 [1, 0] %1\n");
    const Shape shape = Shape::FromSizes({{int64_t{24}, columns}});
    const Tensor sums = Tensor::Empty(DType::kFloat32, Shape::FromSizes({{columns}}));
    cases.push_back({StrCat("columns ", columns),
                     p,
                     {RandomTensor(DType::kFloat32, shape, -1, 1, 5)},
                     {sums, sums, Tensor::Empty(DType::kFloat32, {24})}});
  }
  CheckAll(cases);
}

// Rows that are kept count once, others once for every pass.
TEST(CudaLongRows, CountWhatEveryPassReads) {
  RegisterBackend(CudaBackend());
  const auto moved = [](const OpDef& op, const std::vector<Attr>& attrs, int64_t columns) {
    Graph g;
    Builder b(g, 0);
    const Shape shape = Shape::FromSizes({{int64_t{64}, columns}});
    g.AddOutput("y", b(op, {g.AddInput("x", {DType::kFloat32, shape}, 0)}, attrs));
    return MakePlan(g, {.device = CudaBackend()->Props(0)})->stats;
  };
  const auto tensor = [](int64_t columns) { return 64 * 4 * columns; };
  for (const int64_t columns : {50257, 100000}) {
    EXPECT_EQ(moved(ops::kSoftmax, {int64_t{-1}}, columns).moved_bytes, 2 * tensor(columns));
  }
  const PlanStats twice = moved(ops::kSoftmax, {int64_t{-1}}, 400000);
  EXPECT_EQ(twice.moved_bytes, 3 * tensor(400000));
  EXPECT_EQ(twice.fused_bound_bytes, 2 * tensor(400000));
  const std::vector<int64_t> last = {1};
  EXPECT_EQ(moved(ops::kLogsumexp, {last, false}, 400000).moved_bytes, tensor(400000) + 64 * 4);
}

}  // namespace
}  // namespace ostria
