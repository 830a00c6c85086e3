// SPDX-License-Identifier: Apache-2.0
// Updates of optimizers beside the CPU's.
#include <cstring>

#include "backend_cuda/evaluate.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"

namespace ostria {
namespace {

using Ints = std::vector<int64_t>;

struct Rule {
  const OpDef* op;
  std::vector<Attr> own;
};
const Rule kRules[] = {
    {&ops::kSgdUpdate, {}},
    {&ops::kMomentumUpdate, {0.9, false}},
    {&ops::kMomentumUpdate, {0.9, true}},
    {&ops::kAdamUpdate, {0.9, 0.999, 1e-7, false}},
    {&ops::kAdagradUpdate, {1e-7}},
    {&ops::kRmspropUpdate, {0.9, 1e-7}},
    {&ops::kRmspropMomentumUpdate, {0.9, 0.5, 1e-7}},
    {&ops::kRmspropCenteredUpdate, {0.9, 0.5, 1e-3}},
    {&ops::kAdadeltaUpdate, {0.95, 1e-7}},
    {&ops::kAdamaxUpdate, {0.9, 0.999, 1e-7}},
    {&ops::kNadamUpdate, {0.9, 0.999, 1e-7}},
    {&ops::kFtrlUpdate, {-0.5, 0.01, 0.02, 0.03, 0.1, false}},
    {&ops::kFtrlUpdate, {-0.7, 0.01, 0.0, 0.0, 0.1, false}},
    {&ops::kLionUpdate, {0.9, 0.99}},
};

std::vector<Attr> Table(std::vector<Attr> own, double weight_decay, Ints decay = {},
                        Ints rates = {}, Ints outer = {}) {
  own.emplace_back(weight_decay);
  for (Ints& ints : std::array{std::move(decay), std::move(rates), std::move(outer)}) {
    own.emplace_back(std::move(ints));
  }
  return own;
}

// Operands of a step over variables of these shapes. Slots are not negative: some are under roots.
std::vector<Tensor> Operands(const OpDef& op, DType dtype, const std::vector<Shape>& shapes,
                             bool commit = true, std::vector<float> lr = {0.01f}) {
  const ops::UpdateForm form = ops::FormOf(op);
  std::vector<Tensor> in;
  for (int group = 0; group < form.groups; ++group) {
    for (const Shape& shape : shapes) {
      in.push_back(RandomTensor(dtype, shape, group < 2 ? -1 : 0.1, 1, 100 + in.size()));
    }
  }
  Tensor rates = Tensor::Empty(DType::kFloat32,
                               lr.size() == 1 ? Shape{} : Shape{static_cast<int64_t>(lr.size())});
  std::copy(lr.begin(), lr.end(), rates.data<float>());
  in.push_back(rates);
  if (form.has_step) in.push_back(Tensor::Scalar(DType::kInt64, 3));
  in.push_back(Tensor::Scalar(DType::kFloat32, 0.5));
  in.push_back(Tensor::Scalar(DType::kBool, commit ? 1 : 0));
  return in;
}

const std::vector<Shape> kShapes = {{71, 29}, {1}, {229}, {}, {3, 5, 7}, {0, 4}, {2, 1024}};

// The largest difference seen on a GPU was 5.4e-6, by Ftrl, whose powers are the device's.
double Tolerance(DType dtype) { return dtype == DType::kFloat32 ? 8e-6 : 1e-13; }

void ExpectEach(const std::vector<Tensor>& got, const std::vector<Tensor>& want, double tolerance) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    SCOPED_TRACE(i);
    ExpectClose(got[i], want[i], tolerance);
  }
}

TEST(CudaOptim, StepsAreTheCpus) {
  for (const Rule& rule : kRules) {
    for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
      SCOPED_TRACE(StrCat(rule.op->name, " ", dtype));
      const auto attrs = Table(rule.own, 0.1);
      const auto in = Operands(*rule.op, dtype, kShapes);
      const auto got = EvaluateOnCuda(*rule.op, attrs, in);
      ExpectEach(got, EvaluateOnCpu(*rule.op, attrs, in), Tolerance(dtype));
    }
  }
}

// Wherever operands lie, and in whichever order threads run, the bits are the same.
TEST(CudaOptim, PlacesDoNotMatter) {
  for (const Rule& rule : kRules) {
    SCOPED_TRACE(rule.op->name);
    const auto attrs = Table(rule.own, 0.1);
    const auto in = Operands(*rule.op, DType::kFloat32, kShapes);
    const auto want = EvaluateOnCuda(*rule.op, attrs, in);
    for (const Placement& p :
         {Placement{.in_place = true}, Placement{.skew = 1}, Placement{.skew = 3, .in_place = true},
          Placement{.in_place = true, .joined = true}}) {
      ExpectEach(EvaluateOnCuda(*rule.op, attrs, in, p), want, 0);
    }
  }
}

TEST(CudaOptim, NothingChangesWithoutCommit) {
  for (const Rule& rule : kRules) {
    SCOPED_TRACE(rule.op->name);
    const auto in = Operands(*rule.op, DType::kFloat32, kShapes, false);
    for (const bool in_place : {false, true}) {
      const auto got =
          EvaluateOnCuda(*rule.op, Table(rule.own, 0.1), in, Placement{.in_place = in_place});
      for (size_t i = 0; i < got.size(); ++i) {
        const size_t from = i < kShapes.size() ? i : i + kShapes.size();
        ExpectClose(got[i], in[from], 0);
      }
    }
  }
}

TEST(CudaOptim, VariablesMayDifferInRateAndDecay) {
  const auto attrs =
      Table({0.9, 0.999, 1e-7, false}, 0.1, {1, 0, 1, 1, 0, 1, 0}, {0, 0, 1, 1, 0, 0, 1});
  const auto in = Operands(ops::kAdamUpdate, DType::kFloat32, kShapes, true, {0.01f, 0.5f});
  ExpectEach(EvaluateOnCuda(ops::kAdamUpdate, attrs, in),
             EvaluateOnCpu(ops::kAdamUpdate, attrs, in), 3e-6);
}

TEST(CudaOptim, StepMayBeAFloat) {
  const auto attrs = Table({0.9, 0.999, 1e-7, false}, 0);
  auto in = Operands(ops::kAdamUpdate, DType::kFloat32, {{71, 29}});
  const auto want = EvaluateOnCuda(ops::kAdamUpdate, attrs, in);
  in[5] = Tensor::Scalar(DType::kFloat32, 3);
  ExpectEach(EvaluateOnCuda(ops::kAdamUpdate, attrs, in), want, 0);
}

// State that lies together is one launch, whatever the number of variables.
TEST(CudaOptim, NeighboursAreOneLaunch) {
  if (!OnFakeDriver()) GTEST_SKIP() << "only the fake driver counts calls";
  // Of 256 bytes: a place of its own takes more, so that only what is joined follows.
  const std::vector<Shape> many(150, Shape{64});
  const auto in = Operands(ops::kAdamUpdate, DType::kFloat32, many);
  const auto attrs = Table({0.9, 0.999, 1e-7, false}, 0.1);
  const int64_t before = DriverCalls("cuLaunchKernel");
  const auto joined =
      EvaluateOnCuda(ops::kAdamUpdate, attrs, in, Placement{.in_place = true, .joined = true});
  EXPECT_EQ(DriverCalls("cuLaunchKernel") - before, 1);
  const auto apart = EvaluateOnCuda(ops::kAdamUpdate, attrs, in, Placement{.in_place = true});
  EXPECT_EQ(DriverCalls("cuLaunchKernel") - before, 1 + 3);  // of at most 64 segments
  ExpectEach(joined, apart, 0);
  ExpectEach(joined, EvaluateOnCpu(ops::kAdamUpdate, attrs, in), 3e-6);
}

// --- rows
// -----------------------------------------------------------------------------------------

const Rule kLazy[] = {
    {&ops::kSgdUpdate, {}},
    {&ops::kAdamUpdate, {0.9, 0.999, 1e-7, true}},
    {&ops::kAdagradUpdate, {1e-7}},
    {&ops::kFtrlUpdate, {-0.5, 0.01, 0.02, 0.0, 0.1, true}},
};

void ZeroRows(Tensor* g, int64_t cols, const Ints& rows) {
  for (const int64_t row : rows) {
    std::memset(static_cast<std::byte*>(g->raw()) + row * cols * SizeOf(g->dtype()), 0,
                static_cast<size_t>(cols * SizeOf(g->dtype())));
  }
}

TEST(CudaOptim, LazyUpdatesLeaveRowsWithoutGradientAlone) {
  for (const Rule& rule : kLazy) {
    for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
      SCOPED_TRACE(StrCat(rule.op->name, " ", dtype));
      const std::vector<Shape> shapes = {{71, 29}, {40}, {9, 3}, {}, {3, 229}, {0, 3}};
      auto in = Operands(*rule.op, dtype, shapes);
      ZeroRows(&in[6], 29, {0, 5, 70});
      ZeroRows(&in[7], 1, {3, 4, 39});
      ZeroRows(&in[8], 3, {2, 8});
      ZeroRows(&in[10], 229, {1});
      const auto attrs = Table(rule.own, 0.1);
      ExpectEach(EvaluateOnCuda(*rule.op, attrs, in), EvaluateOnCpu(*rule.op, attrs, in),
                 Tolerance(dtype));
    }
  }
}

// A table of 71 rows, one that is whole and one of 5 rows; of the gradients come 9 rows (7 count)
// and 3 (none counts).
TEST(CudaOptim, GradientsMayBeRows) {
  for (const Rule& rule : kLazy) {
    for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
      SCOPED_TRACE(StrCat(rule.op->name, " ", dtype));
      auto in = Operands(*rule.op, dtype, {{71, 29}, {11}, {5, 2, 2}});
      in[3] = RandomTensor(dtype, {9, 29}, -1, 1, 7);
      in[5] = RandomTensor(dtype, {3, 2, 2}, -1, 1, 8);
      ZeroRows(&in[3], 29, {2, 7, 8});
      ZeroRows(&in[5], 4, {0, 1, 2});
      const std::vector<int32_t> named = {7, 0, 3, 4, 31, 60, 69, 70, 0, 0, 0, 0, 0, 0};
      Tensor rows = Tensor::Empty(DType::kInt32, {14});
      std::copy(named.begin(), named.end(), rows.data<int32_t>());
      in.push_back(rows);
      const auto attrs = Table(rule.own, 0, {}, {}, {ops::kByRows, 0, ops::kByRows});
      const auto want = EvaluateOnCpu(*rule.op, attrs, in);
      const auto got = EvaluateOnCuda(*rule.op, attrs, in);
      ExpectEach(got, want, Tolerance(dtype));
      ExpectEach(EvaluateOnCuda(*rule.op, attrs, in, Placement{.skew = 1, .in_place = true}), got,
                 0);
    }
  }
}

// --- updates by norms
// ------------------------------------------------------------------------------

struct NormRule {
  const OpDef* op;
  std::vector<Attr> own;
};
const NormRule kByNorm[] = {{&ops::kLambUpdate, {0.9, 0.999, 1e-7}},
                            {&ops::kAdafactorUpdate, {-0.8, 1e-30, 1e-3, 1.0}},
                            {&ops::kAdafactorUpdate, {-0.8, 1e-6, 2.0, 0.1}}};

std::vector<Attr> NormTable(std::vector<Attr> own, double weight_decay, Ints decay = {},
                            Ints rates = {}) {
  own = Table(std::move(own), weight_decay, std::move(decay), std::move(rates));
  own.pop_back();  // takes no outer products
  return own;
}

// Adafactor's second slot is smaller than the variable; its first too.
std::vector<Tensor> NormOperands(const OpDef& op, DType dtype, const std::vector<Shape>& shapes,
                                 bool commit = true, std::vector<float> lr = {0.01f}) {
  auto in = Operands(op, dtype, shapes, commit, std::move(lr));
  if (&op != &ops::kAdafactorUpdate) return in;
  const size_t n = shapes.size();
  for (size_t i = 0; i < n; ++i) {
    Shape r = shapes[i], c = shapes[i];
    if (r.rank() >= 2) {
      r.Remove(r.rank() - 1);
      c.Remove(c.rank() - 2);
    } else {
      c = {};
    }
    in[2 * n + i] = RandomTensor(dtype, r, 0.1, 1, 500 + i);
    in[3 * n + i] = RandomTensor(dtype, c, 0.1, 1, 600 + i);
  }
  return in;
}

// Matrices, stacked ones, vectors, a scalar, nothing; more rows than a block sums.
const std::vector<Shape> kNormShapes = {{71, 29}, {1},       {229},        {},    {3, 5, 7},
                                        {0, 4},   {300, 40}, {2, 3, 1, 9}, {2500}};

TEST(CudaOptim, StepsByNormsAreTheCpus) {
  for (const NormRule& rule : kByNorm) {
    for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
      SCOPED_TRACE(StrCat(rule.op->name, " ", dtype));
      const auto attrs = NormTable(rule.own, 0.1);
      const auto in = NormOperands(*rule.op, dtype, kNormShapes);
      const auto got = EvaluateOnCuda(*rule.op, attrs, in);
      ExpectEach(got, EvaluateOnCpu(*rule.op, attrs, in), 2 * Tolerance(dtype));
      if (dtype == DType::kFloat32) {
        ExpectPlacesDoNotMatter(*rule.op, attrs, in, Tolerance(dtype));
      }
    }
  }
}

TEST(CudaOptim, ManyVariablesStepByTheirNorms) {
  std::vector<Shape> many;
  Ints decay, rates;
  for (int i = 0; i < 90; ++i) {  // more of one kind than a launch takes
    many.push_back(i % 3 == 0 ? Shape{7, 5} : Shape{i % 7 + 1});
    decay.push_back(i % 4 == 0 ? 0 : 1);
    rates.push_back(i == 3 ? 1 : 0);
  }
  for (const NormRule& rule : kByNorm) {
    SCOPED_TRACE(rule.op->name);
    const auto attrs = NormTable(rule.own, 0.1, decay, rates);
    const auto in = NormOperands(*rule.op, DType::kFloat32, many, true, {0.01f, 0.5f});
    ExpectEach(EvaluateOnCuda(*rule.op, attrs, in), EvaluateOnCpu(*rule.op, attrs, in), 6e-6);
  }
}

TEST(CudaOptim, NothingStepsByNormsWithoutCommit) {
  for (const NormRule& rule : kByNorm) {
    const auto in = NormOperands(*rule.op, DType::kFloat32, kNormShapes, false);
    const auto got = EvaluateOnCuda(*rule.op, NormTable(rule.own, 0.1), in);
    for (size_t i = 0; i < got.size(); ++i) {
      ExpectClose(got[i], in[i < kNormShapes.size() ? i : i + kNormShapes.size()], 0);
    }
  }
}

// --- averages of weights ------------------------------------------------------------------------

TEST(CudaOptim, AveragesAreTheCpus) {
  for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
    for (const auto& [step, every, commit] :
         {std::tuple{1, 0, true}, {7, 0, true}, {8, 4, true}, {7, 4, true}, {8, 4, false}}) {
      std::vector<Tensor> in;
      for (int i = 0; i < 2; ++i) {
        for (const Shape& shape : kShapes) {
          in.push_back(RandomTensor(dtype, shape, -1, 1, in.size()));
        }
      }
      in.push_back(Tensor::Scalar(DType::kInt64, step));
      in.push_back(Tensor::Scalar(DType::kBool, commit ? 1 : 0));
      const std::vector<Attr> attrs = {0.9, int64_t{every}};
      const auto want = EvaluateOnCpu(ops::kEmaUpdate, attrs, in);
      const auto got = EvaluateOnCuda(ops::kEmaUpdate, attrs, in);
      ExpectEach(got, want, Tolerance(dtype));
      for (const Placement& p :
           {Placement{.skew = 1}, Placement{.in_place = true, .joined = true}}) {
        ExpectEach(EvaluateOnCuda(ops::kEmaUpdate, attrs, in, p), got, 0);
      }
    }
  }
}

}  // namespace
}  // namespace ostria
