// SPDX-License-Identifier: Apache-2.0
// Planning and running bodies: a scan built in C++, what the passes leave of it, what it may touch.
#include "runtime/control.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "autodiff/gradient.h"
#include "backend/backend.h"
#include "ops/common/build.h"
#include "ops/common/control.h"
#include "ops/ops.h"
#include "passes/pass.h"
#include "passes/pipeline.h"
#include "runtime/executable.h"

namespace ostria {
namespace {

using namespace ops;

const ValueType kRow{DType::kFloat32, {2}};

// c' = tanh(c * scale) + x, y = c
Graph Loop(int64_t length, bool reverse) {
  Graph g;
  Builder b(g, 0);
  const Value scale = g.AddInput("scale", kRow, 0), c = g.AddInput("c", kRow, 0);
  const Value xs = g.AddInput("xs", {DType::kFloat32, {length, 2}}, 0);
  const std::vector<Value> out = BuildScan(
      b, std::array{scale}, std::array{c}, std::array{xs}, length, reverse,
      [](Builder& body, const ScanArguments& a) {
        const Value product = body(kMultiply, {a.carries[0], a.captures[0]});
        return ScanReturns{{body(kAdd, {body(kTanh, {product}), a.xs[0]})}, {a.carries[0]}};
      });
  g.AddOutput("last", out[0]);
  g.AddOutput("ys", out[1]);
  return g;
}

std::shared_ptr<const Plan> PlanOf(const Graph& g, DeviceKind kind, bool optimize = true) {
  PlanOptions options;
  options.device = FindBackend(kind).Props(0);
  options.optimize = optimize;
  return MakePlan(g, options);
}

Tensor Rows(std::initializer_list<float> values, const Shape& shape) {
  Tensor t = Tensor::Empty(DType::kFloat32, shape);
  std::copy(values.begin(), values.end(), t.data<float>());
  return t;
}

TEST(Control, AScanBuiltInCppRunsForwardAndBackward) {
  for (const bool reverse : {false, true}) {
    const auto plan = PlanOf(Loop(3, reverse), DeviceKind::kCpu);
    CheckRaces(*plan);
    Executable executable(plan, {});
    std::vector<Tensor> outputs;
    const std::vector<float> xs = {1, 2, 3, 4, 5, 6};
    executable.Run(
        std::array{Rows({0.5f, 0.5f}, {2}), Rows({1, -1}, {2}), Rows({1, 2, 3, 4, 5, 6}, {3, 2})},
        &outputs);
    float c[2] = {1, -1};
    for (int t = 0; t < 3; ++t) {
      const int row = reverse ? 2 - t : t;
      for (int i = 0; i < 2; ++i) {
        EXPECT_NEAR(outputs[1].data<float>()[2 * row + i], c[i], 1e-5);
        c[i] = std::tanh(c[i] * 0.5f) + xs[static_cast<size_t>(2 * row + i)];
      }
    }
    for (int i = 0; i < 2; ++i) EXPECT_NEAR(outputs[0].data<float>()[i], c[i], 1e-5);
  }
}

TEST(Control, ABodyIsPlannedIntoTheWorkspaceOfItsNodeOnEveryDevice) {
  for (const DeviceKind kind : {DeviceKind::kCpu, DeviceKind::kNull}) {
    const auto plan = PlanOf(Loop(4, false), kind);
    CheckRaces(*plan);
    ASSERT_EQ(plan->steps.size(), 1u);
    const auto bodies = BodiesOf(*plan->steps[0].state);
    ASSERT_EQ(bodies.size(), 1u);
    EXPECT_EQ(bodies[0].times, 4);
    EXPECT_GE(plan->stats.activation_bytes, bodies[0].plan->stats.activation_bytes);
    Executable executable(plan, {});
    std::vector<Tensor> outputs;
    executable.Run(
        std::array{Rows({0, 0}, {2}), Rows({0, 0}, {2}), Rows({0, 0, 0, 0, 0, 0, 0, 0}, {4, 2})},
        &outputs);
  }
}

TEST(Control, ShortLoopsNeedNoLoop) {
  for (const int64_t length : {0, 1}) {
    Graph g = Loop(length, false);
    EXPECT_TRUE(InlineControl(g, {}));
    Verify(g, "inline_control");
    EXPECT_EQ(Print(g).find("scan"), std::string::npos) << Print(g);
  }
  Graph g = Loop(2, false);
  EXPECT_FALSE(InlineControl(g, {}));
}

TEST(Control, TheStepOfALoopOfOneIsZero) {
  Graph g;
  Builder b(g, 0);
  const Value c = g.AddInput("c", {DType::kInt64, {}}, 0);
  g.AddOutput("last", BuildScan(b, {}, std::array{c}, {}, 1, false,
                                [](Builder& body, const ScanArguments& a) {
                                  return ScanReturns{{body(kAdd, {a.carries[0], a.step})}, {}};
                                })[0]);
  Executable executable(PlanOf(g, DeviceKind::kCpu), {});
  std::vector<Tensor> outputs;
  executable.Run(std::array{Tensor::Scalar(DType::kInt64, 5.0)}, &outputs);
  EXPECT_EQ(*outputs[0].data<int64_t>(), 5);
}

TEST(Control, ABranchThatIsKnownNeedsNoBranch) {
  for (const bool holds : {true, false}) {
    Graph g = Parse(StrCat(R"(ostria-graph 1
input %x "x": float32[2]
%p: bool[] = full@1() {shape = [], dtype = bool, value = )",
                           int{holds}, R"(}
%y: float32[2] = cond@1(%p, %x) {true_body = {
  input %x "x": float32[2]
  %y: float32[2] = exp@1(%x)
  output "y" %y
}, false_body = {
  input %x "x": float32[2]
  %y: float32[2] = tanh@1(%x)
  output "y" %y
}}
output "y" %y
)"));
    EXPECT_TRUE(InlineControl(g, {}));
    Verify(g, "inline_control");
    EliminateDeadCode(g, {});
    EXPECT_EQ(g.num_nodes(), 1);
    EXPECT_TRUE(g.is(g.first(), holds ? kExp : kTanh)) << Print(g);
  }
}

// Two loops over the same rows from the same carry become one only where they carry the same.
TEST(Control, OnlyLoopsOfOneCarryAreMerged) {
  const auto two = [](const OpDef& first, const OpDef& second, bool reverse) {
    Graph g;
    Builder b(g, 0);
    const Value c = g.AddInput("c", kRow, 0), xs = g.AddInput("xs", {DType::kFloat32, {3, 2}}, 0);
    for (const auto& [op, back] : {std::pair{&first, false}, std::pair{&second, reverse}}) {
      const auto out = BuildScan(b, {}, std::array{c}, std::array{xs}, 3, back,
                                 [op = op](Builder& body, const ScanArguments& a) {
                                   const Value next = body(*op, {a.carries[0], a.xs[0]});
                                   return ScanReturns{{next}, {body(kTanh, {next})}};
                                 });
      for (Value v : out) g.AddOutput("y", v);
    }
    const bool merged = MergeScans(g, {});
    Verify(g, "merge_scans");
    return merged;
  };
  EXPECT_TRUE(two(kAdd, kAdd, false));
  EXPECT_FALSE(two(kAdd, kMultiply, false));
  EXPECT_FALSE(two(kAdd, kAdd, true));
}

TEST(Control, LengthZeroRunsWithoutThePassesToo) {
  Executable executable(PlanOf(Loop(0, false), DeviceKind::kCpu, false), {});
  std::vector<Tensor> outputs;
  executable.Run(std::array{Rows({1, 1}, {2}), Rows({3, 4}, {2}), Rows({}, {0, 2})}, &outputs);
  EXPECT_EQ(outputs[0].data<float>()[1], 4.0f);
}

TEST(Control, HoistingComesToRest) {
  Graph g;
  Builder b(g, 0);
  const Value w = g.AddInput("w", kRow, 0), c = g.AddInput("c", kRow, 0);
  g.AddOutput("last", BuildScan(b, std::array{w}, std::array{c}, {}, 3, false,
                                [](Builder& body, const ScanArguments& a) {
                                  const Value half = Full(body, kRow, 0.5);
                                  const Value e = body(kExp, {body(kAdd, {a.captures[0], half})});
                                  return ScanReturns{{body(kMultiply, {a.carries[0], e})}, {}};
                                })[0]);
  EXPECT_TRUE(HoistInvariant(g, {}));
  Verify(g, "hoist_invariant");
  EliminateDeadCode(g, {});
  const int nodes = g.num_nodes();
  EXPECT_GE(nodes, 4);  // full, add, exp, scan
  EXPECT_FALSE(HoistInvariant(g, {}));
  EXPECT_EQ(g.num_nodes(), nodes);
}

// c' = sin(a(c)) over rows [n, 1], where a multiplies by [1, n] and sums up, or by [n, n].
Graph GradientOfLoop(int64_t n, bool outer) {
  Graph g;
  Builder b(g, 0);
  const Value w = g.AddInput("w", {DType::kFloat32, {outer ? 1 : n, n}}, 0);
  const Value c = g.AddInput("c", {DType::kFloat32, {n, outer ? 1 : n}}, 0);
  const std::vector<Value> out = BuildScan(
      b, std::array{w}, std::array{c}, {}, 5, false, [&](Builder& body, const ScanArguments& a) {
        const Value y = body(kSin, {body(kMatmul, {a.carries[0], a.captures[0]})});
        if (!outer) return ScanReturns{{y}, {}};
        return ScanReturns{{body(kMean, {y}, {std::vector<int64_t>{1}, true})}, {}};
      });
  g.AddOutput("dw", Gradients(g, out, {}, std::array{w})[0]);
  Optimise(g);
  return g;
}

// The matrix products in the body of the last scan, and the elements that the first one stacks.
std::pair<int, int64_t> Residuals(const Graph& g) {
  std::vector<NodeId> scans;
  for (NodeId n = g.first(); n.valid(); n = g.next(n)) {
    if (g.is(n, kScan)) scans.push_back(n);
  }
  EXPECT_EQ(scans.size(), 2u);
  const ScanParts p = PartsOf(g, scans[0]);
  int64_t stacked = 0;
  for (int k = 0; k < p.ys; ++k) stacked += g.shape(g.result(scans[0], p.carries + k)).numel();
  int products = 0;
  const Graph& backward = *g.attr<Body>(scans[1], ScanAttr::kBody);
  for (NodeId n = backward.first(); n.valid(); n = backward.next(n)) {
    products += backward.is(n, kMatmul);
  }
  return {products, stacked};
}

TEST(Control, DearValuesAreStackedAndCheapOnesComputedAgain) {
  // A product of 2 n operations an element: its result is stacked, and c for the gradient of w.
  EXPECT_EQ(Residuals(GradientOfLoop(64, false)), std::pair(2, int64_t{2 * 5 * 64 * 64}));
  // One operation an element, a large result: c alone, and the product once more.
  EXPECT_EQ(Residuals(GradientOfLoop(256, true)), std::pair(3, int64_t{5 * 256}));
}

// What may refuse its data does so where it stands, and a loop that runs once gains nothing.
TEST(Control, SomeStaysInTheLoop) {
  const auto hoists = [](bool gathers, int64_t length) {
    Graph g;
    Builder b(g, 0);
    const Value w = g.AddInput("w", kRow, 0), c = g.AddInput("c", kRow, 0);
    const Value at = g.AddInput("at", {DType::kInt64, {2}}, 0);
    g.AddOutput("last", BuildScan(b, std::array{w, at}, std::array{c}, {}, length, false,
                                  [&](Builder& body, const ScanArguments& a) {
                                    const Value e =
                                        gathers ? body(kGather, {a.captures[0], a.captures[1]})
                                                : body(kExp, {a.captures[0]});
                                    return ScanReturns{{body(kMultiply, {a.carries[0], e})}, {}};
                                  })[0]);
    return HoistInvariant(g, {});
  };
  EXPECT_TRUE(hoists(false, 2));
  EXPECT_FALSE(hoists(false, 1));
  EXPECT_FALSE(hoists(true, 2));
}

TEST(Control, UnreadPartsOfAScanAreRemoved) {
  Graph g = Loop(3, false);
  g.RemoveOutput(1);
  EXPECT_TRUE(TrimLoops(g, {}));
  EliminateDeadCode(g, {});
  Verify(g, "trim_loops");
  EXPECT_EQ(g.num_results(g.last()), 1);
  EXPECT_FALSE(TrimLoops(g, {}));
}

}  // namespace
}  // namespace ostria
