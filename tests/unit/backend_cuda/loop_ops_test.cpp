// SPDX-License-Identifier: Apache-2.0
// Single ops as generated loops, and whole groups, through prepare, bind and launch, against the
// CPU.
#include <algorithm>
#include <cmath>

#include "backend_cuda/evaluate.h"
#include "backend_cuda/loop_programs.h"
#include "backend_cuda/model_loops.h"
#include "ops/common/scalar.h"

namespace ostria {
namespace {

struct OpCase {
  const OpDef* op;
  std::vector<Attr> attrs;
  std::vector<Tensor> inputs;
  double tolerance = 0;
};

double ToleranceOf(DType dtype) {
  switch (dtype) {
    case DType::kFloat64: return 1e-12;
    case DType::kFloat32: return 1e-5;
    case DType::kFloat16: return 2e-3;
    case DType::kBFloat16: return 1e-2;
    default: return 0;
  }
}

Graph BodyOf(const OpCase& c) {
  Graph g;
  std::vector<Value> in;
  for (const Tensor& t : c.inputs) in.push_back(g.AddInput("x", {t.dtype(), t.shape()}, 0));
  const NodeId n = g.AddNode(*c.op, in, c.attrs, 0);
  for (int i = 0; i < g.num_results(n); ++i) g.AddOutput("y", g.result(n, i));
  return g;
}

// The kernels of all cases are compiled together.
void Check(const std::vector<OpCase>& cases, std::string_view impl) {
  for (const OpCase& c : cases) {
    std::string why;
    const auto program = BuildLoop(BodyOf(c), &why);
    ASSERT_TRUE(program) << c.op->name << ": " << why;
    ExpectLoop(*program);
  }
  for (const OpCase& c : cases) {
    SCOPED_TRACE(
        StrCat(c.op->name, " of ", c.inputs.empty() ? DType::kBool : c.inputs.back().dtype()));
    const auto got = EvaluateOnCuda(*c.op, c.attrs, c.inputs, impl);
    const auto want = EvaluateOnCpu(*c.op, c.attrs, c.inputs);
    ASSERT_EQ(got.size(), want.size());
    for (size_t k = 0; k < got.size(); ++k) ExpectClose(got[k], want[k], c.tolerance);
    if (testing::Test::HasFailure()) return;
  }
}

std::vector<Attr> SomeAttrs(const OpDef& op) {
  const Attr yes = true, half = 0.5;
  std::vector<Attr> out;
  for (const AttrDef& a : op.attrs) out.push_back(a.type == AttrType::kBool ? yes : half);
  return out;
}

// Every dtype of a kind has its turn, and float32 sees every function.
TEST(CudaLoopOps, EveryFunctorIsTheCpus) {
  constexpr DType kFloats[] = {DType::kFloat64, DType::kBFloat16, DType::kFloat16};
  constexpr DType kInts[] = {DType::kInt32,  DType::kUInt8, DType::kInt64,  DType::kInt8,
                             DType::kUInt32, DType::kInt16, DType::kUInt64, DType::kUInt16};
  std::vector<OpCase> cases;
  size_t turn = 0;
  for (const OpDef* op : ops::AllOps()) {
    if (!op->scalar) continue;
    const std::vector<Attr> attrs = SomeAttrs(*op);
    const kernels::ScalarOpInfo& info = kernels::InfoOf(ops::ScalarCallOf(*op, attrs).op);
    std::vector<DType> dtypes;
    if ((info.kinds & kernels::kFloats) != 0) {
      dtypes.push_back(DType::kFloat32);
      const bool halves = op != &ops::kNextafter;
      if (turn % 2 == 0 && halves) dtypes.push_back(kFloats[turn / 2 % 3]);
    }
    if ((info.kinds & kernels::kInts) != 0) dtypes.push_back(kInts[turn % 8]);
    if ((info.kinds & kernels::kBools) != 0) dtypes.push_back(DType::kBool);
    for (DType dtype : dtypes) {
      OpCase c{op, attrs, {}, ToleranceOf(dtype)};
      const double low = KindOf(dtype) == DTypeKind::kUnsigned || dtype == DType::kBool ? 0 : -3;
      for (size_t k = 0; k < op->inputs.size(); ++k) {
        const bool condition = k == 0 && op == &ops::kWhere;
        c.inputs.push_back(RandomTensor(condition ? DType::kBool : dtype, {71, 29}, low,
                                        dtype == DType::kBool || condition ? 2 : 4, turn * 7 + k));
      }
      cases.push_back(std::move(c));
    }
    ++turn;
  }
  EXPECT_GT(cases.size(), 120u);
  Check(cases, "loop");
}

TEST(CudaLoopOps, CastsAreTheCpus) {
  std::vector<OpCase> cases;
  for (int from = 0; from < kNumDTypes; ++from) {
    for (int step : {1, 4, 9}) {
      const auto a = static_cast<DType>(from), b = static_cast<DType>((from + step) % kNumDTypes);
      const bool integers = IsInteger(a) || a == DType::kBool;
      Tensor x = RandomTensor(a, {229}, 0, a == DType::kBool ? 2 : integers ? 100 : 100.9, 3);
      if (a == DType::kFloat32) {
        const float odd[] = {INFINITY, -INFINITY, NAN, -0.0f, 1e20f, -1e20f, -5.7f, 0.9999f};
        std::copy(std::begin(odd), std::end(odd), x.data<float>());
      }
      cases.push_back({&ops::kCast, {b}, {x}, 0});
    }
  }
  Check(cases, "loop");
}

TEST(CudaLoopOps, LoopsThatAreOneOpAreTheCpus) {
  const auto f32 = [](const Shape& s, uint64_t seed) {
    return RandomTensor(DType::kFloat32, s, -2, 2, seed);
  };
  const std::vector<int64_t> last = {1}, first = {0}, all = {};
  Tensor key = Tensor::Empty(DType::kInt64, {2});
  key.data<int64_t>()[0] = 99;
  key.data<int64_t>()[1] = 5;
  const Tensor offset = Tensor::Scalar(DType::kInt64, 3);
  const Tensor x = f32({71, 229}, 1), g = f32({71, 229}, 2), v = f32({229}, 3), r = f32({71}, 4);
  const Tensor half = RandomTensor(DType::kBFloat16, {5, 64}, -2, 2, 5);
  Check({{&ops::kSoftmax, {int64_t{-1}}, {x}, 1e-5},
         {&ops::kSoftmax, {int64_t{-1}}, {half}, 1e-2},
         {&ops::kLogSoftmax, {int64_t{-1}}, {x}, 1e-5},
         {&ops::kSoftmaxGrad, {int64_t{-1}}, {x, g}, 1e-5},
         {&ops::kLogSoftmaxGrad, {int64_t{-1}}, {x, g}, 1e-4},
         {&ops::kLayerNorm, {1e-5, int64_t{1}}, {x, v, v}, 1e-5},
         {&ops::kRmsNorm, {1e-5, int64_t{1}}, {x, v}, 1e-5},
         {&ops::kLayerNormGrad, {int64_t{1}}, {g, x, v, r, r}, 1e-4},
         {&ops::kRmsNormGrad, {int64_t{1}}, {g, x, v, r}, 1e-4},
         {&ops::kLogsumexp, {last, false}, {x}, 1e-5},
         {&ops::kSum, {last, true}, {x}, 1e-5},
         {&ops::kMean, {first, false}, {x}, 1e-5},
         {&ops::kSum, {all, false}, {x}, 1e-5},
         {&ops::kMax, {last, false}, {half}, 0},
         {&ops::kMin, {first, false}, {x}, 0},
         {&ops::kProd, {last, false}, {half}, 1e-2},
         {&ops::kDropout, {0.3, int64_t{12345}}, {x, key, offset}, 1e-6},
         {&ops::kDropout, {0.3, int64_t{12345}}, {half, key, offset}, 1e-2},
         {&ops::kBroadcastTo, {Shape({71, 229})}, {v}, 0},
         {&ops::kOneHot,
          {int64_t{9}, DType::kFloat32},
          {RandomTensor(DType::kInt64, {13}, 0, 9, 6)},
          0}},
        "loop");
}

TEST(CudaLoopOps, ReductionsOverAnyAxesAreTheCpus) {
  struct Case {
    Shape shape;
    std::vector<int64_t> axes;
  };
  const Case shapes[] = {{{5, 7, 33}, {1}},      {{5, 7, 33}, {0, 2}}, {{3, 5, 1, 16}, {1, 2}},
                         {{4, 3, 5, 8}, {0, 2}}, {{1, 1}, {0}},        {{700, 20}, {0}}};
  const OpDef* const some[] = {&ops::kSum,  &ops::kMean, &ops::kMax, &ops::kAny,
                               &ops::kProd, &ops::kMin,  &ops::kAll};
  const DType dtypes[] = {DType::kInt32,    DType::kFloat32, DType::kUInt8, DType::kInt64,
                          DType::kBFloat16, DType::kInt16,   DType::kBool};
  int turn = 0;
  for (const Case& s : shapes) {
    for (int k = 0; k < 4; ++k, ++turn) {
      const OpDef* op = some[turn % 7];
      DType dtype = dtypes[(turn / 2 + k) % 7];
      if (op == &ops::kMean) dtype = turn % 2 == 0 ? DType::kFloat32 : DType::kFloat64;
      const bool sparse = op == &ops::kAny;
      const double low = KindOf(dtype) == DTypeKind::kSigned ? -3 : 0;
      const Tensor x = RandomTensor(dtype, s.shape, sparse ? 0 : low,
                                    dtype == DType::kBool ? 2
                                    : sparse              ? 1
                                                          : 4,
                                    turn);
      SCOPED_TRACE(StrCat(op->name, " of ", dtype, s.shape, " over [", Join(s.axes, ", "), "]"));
      const std::vector<Attr> attrs = {s.axes, turn % 2 == 0};
      const auto got = EvaluateOnCuda(*op, attrs, {x}, "reduce");
      const auto want = EvaluateOnCpu(*op, attrs, {x});
      ExpectClose(got.at(0), want.at(0), 10 * ToleranceOf(want[0].dtype()));
      if (HasFailure()) return;
    }
  }
}

TEST(CudaLoopOps, PositionsOfExtremaAreTheCpus) {
  for (const OpDef* op : {&ops::kArgmax, &ops::kArgmin}) {
    for (int t = 0; t < kNumDTypes; ++t) {
      const auto dtype = static_cast<DType>(t);
      if (dtype == DType::kBool) continue;
      const double low = KindOf(dtype) == DTypeKind::kUnsigned ? 0 : -9;
      // Few different values, so that many are equal; rows of a warp and of a block; columns.
      for (const auto& [shape, axis] :
           std::vector<std::pair<Shape, std::vector<int64_t>>>{{{13, 71}, {1}},
                                                               {{3, 1500}, {1}},
                                                               {{7, 29, 3}, {1}},
                                                               {{40, 5}, {0}},
                                                               {{6, 7}, {}}}) {
        Tensor x = RandomTensor(dtype, shape, low, 9, 11);
        if (dtype == DType::kFloat32) {
          x.data<float>()[17] = NAN;
          x.data<float>()[23] = -NAN;
          x.data<float>()[2] = -0.0f;
        }
        SCOPED_TRACE(StrCat(op->name, " of ", dtype, shape));
        const std::vector<Attr> attrs = {axis, false};
        ExpectClose(EvaluateOnCuda(*op, attrs, {x}).at(0), EvaluateOnCpu(*op, attrs, {x}).at(0), 0);
      }
    }
  }
}

// The node that the fusing pass makes, through its own prepare, bind and launch.
TEST(CudaLoopOps, FusedNodesAreTheCpus) {
  for (ModelLoop& m : ModelLoops(5)) {
    if (m.name != "dropout_add_bf16" && m.name != "add_layer_norm_bf16" &&
        m.name != "bias_grad_bf16") {
      continue;
    }
    SCOPED_TRACE(m.name);
    std::vector<Tensor> inputs;
    for (Value v : m.body.inputs()) {
      const ValueType& t = m.body.type(v);
      const bool integers = IsInteger(t.dtype);  // a key, and the number of the first row
      inputs.push_back(
          RandomTensor(t.dtype, t.shape, integers ? 0 : -1, integers ? 9 : 1, inputs.size()));
    }
    const std::vector<Attr> attrs = {std::make_shared<const Graph>(std::move(m.body))};
    const auto got = EvaluateOnCuda(ops::kFused, attrs, inputs, "loop");
    const auto want = EvaluateOnCpu(ops::kFused, attrs, inputs);
    ASSERT_EQ(got.size(), want.size());
    for (size_t k = 0; k < got.size(); ++k) ExpectClose(got[k], want[k], 1e-2);
  }
}

TEST(CudaLoopOps, GroupsOfModelsAreTheReferences) {
  if (!OnFakeDriver()) GTEST_SKIP() << "its operands lie in memory of the host";
  struct Run {
    LoopProgram program;
    std::vector<Tensor> inputs, like;
    std::string name;
  };
  std::vector<Run> runs;
  // Few rows for all, and enough for several pieces of those that fold over rows.
  for (const int64_t rows : {int64_t{3}, int64_t{300}}) {
    for (const ModelLoop& m : ModelLoops(rows)) {
      Run r{m.program(), {}, {}, StrCat(m.name, " of ", rows, " rows")};
      const auto loop = cuda::GenerateLoop(r.program, Sm90());
      const bool pieces = loop->workspace_bytes > 0;
      if (rows == 300 && (!pieces || m.name == "log_softmax_f32")) continue;
      uint64_t seed = 1;
      for (Value v : m.body.inputs()) {
        const ValueType& t = m.body.type(v);
        r.inputs.push_back(RandomTensor(t.dtype, t.shape, -1, 1, seed++));
      }
      for (Value v : m.body.outputs()) {
        r.like.push_back(Tensor::Empty(m.body.dtype(v), m.body.shape(v)));
      }
      ExpectLoop(r.program);
      runs.push_back(std::move(r));
    }
  }
  for (const Run& r : runs) {
    const auto want = RunLoopReference(r.program, r.inputs, r.like);
    const auto got = RunLoop(r.program, r.inputs, r.like);
    SetThreadOrder(99);
    const auto again = RunLoop(r.program, r.inputs, r.like, 1);
    for (size_t k = 0; k < want.size(); ++k) {
      ExpectLoopClose(got[k], want[k], StrCat(r.name, ", output ", k));
      ExpectClose(again[k], got[k], 0);
    }
    if (HasFailure()) {
      ADD_FAILURE() << r.name;
      return;
    }
  }
}

}  // namespace
}  // namespace ostria
