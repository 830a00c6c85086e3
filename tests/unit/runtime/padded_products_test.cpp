// SPDX-License-Identifier: Apache-2.0
// Products of sizes that no vector divides, padded: the same results in float64, op by op on the
// CPU, and in any order that streams allow; first rows that are read where they lie.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "autodiff/gradient.h"
#include "backend/backend.h"
#include "ir/builder.h"
#include "ops/ops.h"
#include "passes/pass.h"
#include "runtime/executable.h"
#include "runtime/shuffled.h"

namespace ostria {
namespace {

constexpr DType kDouble = DType::kFloat64;
using Ints = std::vector<int64_t>;

std::vector<Tensor> Inputs(const Graph& g) {
  std::vector<Tensor> out;
  double phase = 0;
  for (Value v : g.inputs()) {
    out.push_back(Tensor::Empty(g.dtype(v), g.shape(v)));
    for (int64_t i = 0; i < out.back().numel(); ++i) {
      if (g.dtype(v) == kDouble) {
        out.back().data<double>()[i] = std::sin(phase += 1.7) + 0.3;
      } else {
        out.back().data<int32_t>()[i] = static_cast<int32_t>(i * 37 % 71);
      }
    }
  }
  return out;
}

PlanOptions OpByOp(int streams = 1) {
  PlanOptions options{.optimize = false, .keeps = false, .streams = streams};
  options.device = FindBackend(DeviceKind::kCpu).Props(0);
  return options;
}

std::vector<Tensor> Results(const Graph& g) {
  const auto plan = MakePlan(g, OpByOp());
  CheckRaces(*plan);
  std::vector<Tensor> outputs;
  Executable(plan, {}, {}).Run(Inputs(g), &outputs);
  return outputs;
}

Graph Padded(const Graph& before) {
  Graph g = before.Clone();
  PassContext context{.device = DeviceKind::kCuda};
  context.product_multiple = [](DType) { return 8; };
  context.padding_pays = [](const ops::ProductPadding&) { return true; };
  EXPECT_TRUE(PadProducts(g, context));
  EliminateDeadCode(g, {});
  Verify(g, "pad_products");
  for (NodeId n = g.first(); n.valid(); n = g.next(n)) {
    if (g.is(n, ops::kMatmul)) {
      const Shape& y = g.shape(g.result(n));
      EXPECT_EQ(y[y.rank() - 1].value() % 8, 0) << Print(g);
    }
  }
  return g;
}

void ExpectTheSame(const Graph& before, double tolerance) {
  const std::vector<Tensor> want = Results(before), got = Results(Padded(before));
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_EQ(got[i].shape(), want[i].shape());
    for (int64_t j = 0; j < want[i].numel(); ++j) {
      ASSERT_NEAR(got[i].data<double>()[j], want[i].data<double>()[j], tolerance)
          << "output " << i << " at " << j;
    }
  }
}

// Features [3, 9, k] and a head of 71 classes, its weights [71, k] or [k, 71]: loss and gradients.
Graph Head(int64_t k, bool tied, bool fetches_logits = false) {
  Graph g;
  Builder b(g, 0);
  const Value h = g.AddInput("h", {kDouble, {3, 9, k}}, 0);
  const Value w = g.AddInput("w", {kDouble, tied ? Shape{71, k} : Shape{k, 71}}, 0);
  const Value labels = g.AddInput("labels", {DType::kInt32, {3, 9}}, 0);
  const Value bias = g.AddInput("bias", {kDouble, {71}}, 0);
  Value logits = b(ops::kMatmul, {h, w}, {false, tied});
  if (!tied) logits = b(ops::kAdd, {logits, bias});
  const Value loss = b(ops::kSparseSoftmaxCrossEntropy, {logits, labels});
  const Value losses[] = {b(ops::kMean, {loss}, {Ints{}, false})};
  const Value wrt[] = {h, w, bias};
  g.AddOutput("loss", losses[0]);
  if (fetches_logits) g.AddOutput("logits", logits);
  for (Value v : Gradients(g, losses, {}, wrt)) g.AddOutput(StrCat("d", g.outputs().size()), v);
  FuseSoftmaxCrossEntropy(g, {});
  FuseBiasActivation(g, {});
  EliminateDeadCode(g, {});
  return g;
}

// The loss, and sums over the same elements, are the same bits; behind a sum over the classes there
// are zeros more.
TEST(PaddedProducts, AHeadGivesTheSameLossAndGradients) {
  for (const int64_t k : {40, 41}) {
    for (const bool tied : {true, false}) {
      for (const bool fetches : {true, false}) {
        SCOPED_TRACE(StrCat(k, tied ? " tied" : "", fetches ? " with logits" : ""));
        ExpectTheSame(Head(k, tied, fetches), k == 40 ? 0 : 1e-13);
      }
    }
  }
}

// What is not finite stays in the rows that it was in.
TEST(PaddedProducts, RowsOfOtherSizesAndActivations) {
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {kDouble, {1, 17}}, 0);
  const Value w = g.AddInput("w", {kDouble, {17, 9}}, 0);
  const Value v = g.AddInput("v", {kDouble, {9, 1}}, 0);
  const Value y = b(ops::kMatmul, {b(ops::kSigmoid, {b(ops::kMatmul, {x, w}, {false, false})}), v},
                    {false, false});
  g.AddOutput("y", y);
  ExpectTheSame(g, 1e-13);
}

TEST(PaddedProducts, EveryLegalOrderGivesTheSame) {
  const Graph g = Padded(Head(40, true));
  const auto plan = MakePlan(g, OpByOp(4));
  CheckRaces(*plan);
  const std::vector<Tensor> want = Results(g);
  for (uint64_t seed = 0; seed < 4; ++seed) {
    const ShuffledResult got = RunShuffled(*plan, Inputs(g), {}, seed);
    for (size_t i = 0; i < want.size(); ++i) {
      const auto bytes = static_cast<size_t>(want[i].bytes());
      EXPECT_EQ(std::memcmp(got.outputs[i].raw(), want[i].raw(), bytes), 0) << i;
    }
  }
}

// --- First rows ---
struct FirstRows {
  Graph g;
  Builder b{g, 0};
  Value x = g.AddInput("x", {kDouble, {72, 5}}, 0);
  Value all = b(ops::kExp, {x});
  Value rows = Slice({0, 0}, {71, 5});
  Value Slice(Ints start, Ints stop) { return b(ops::kSlice, {all}, {start, stop, Ints{}}); }
};

TEST(FirstRows, AreReadWhereTheyLie) {
  FirstRows f;
  f.g.AddOutput("y", f.b(ops::kTanh, {f.rows}));
  f.g.AddOutput("z", f.b(ops::kSin, {f.all}));
  const auto plan = MakePlan(f.g, OpByOp());
  EXPECT_EQ(plan->steps.size(), 3u) << Print(*plan);
  const std::vector<Tensor> got = Results(f.g);
  const std::vector<Tensor> in = Inputs(f.g);
  ASSERT_EQ(got[0].shape(), (Shape{71, 5}));
  for (int64_t i = 0; i < 71 * 5; ++i) {
    EXPECT_NEAR(got[0].data<double>()[i], std::tanh(std::exp(in[0].data<double>()[i])), 1e-14);
  }
}

// A result of all rows may not take the place of some, nor rows that leave the graph that of all.
TEST(FirstRows, LeaveTheGraphAsMany) {
  FirstRows f;
  f.g.AddOutput("rows", f.rows);
  f.g.AddOutput("all", f.all);
  const std::vector<Tensor> got = Results(f.g);
  ASSERT_EQ(got[0].numel(), 71 * 5);
  EXPECT_EQ(std::memcmp(got[0].raw(), got[1].raw(), static_cast<size_t>(got[0].bytes())), 0);
  FirstRows alone;
  alone.g.AddOutput("rows", alone.rows);
  EXPECT_EQ(
      std::memcmp(Results(alone.g)[0].raw(), got[0].raw(), static_cast<size_t>(got[0].bytes())), 0);
}

// Rows in the middle, columns, and so few rows that the others would be kept for them.
TEST(FirstRows, OthersAreCopied) {
  for (const auto& [start, stop] :
       {std::pair<Ints, Ints>{{1, 0}, {72, 5}}, {{0, 0}, {72, 4}}, {{0, 0}, {60, 5}}}) {
    FirstRows f;
    f.g.AddOutput("y", f.b(ops::kTanh, {f.Slice(start, stop)}));
    EXPECT_EQ(MakePlan(f.g, OpByOp())->steps.size(), 3u);
  }
}

}  // namespace
}  // namespace ostria
