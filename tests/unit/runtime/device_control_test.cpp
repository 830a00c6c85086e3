// SPDX-License-Identifier: Apache-2.0
// Bodies on a device that computes by itself.
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "backend/backend.h"
#include "ops/common/build.h"
#include "ops/common/control.h"
#include "ops/ops.h"
#include "runtime/executable.h"
#include "runtime/sim_device.h"

namespace ostria {
namespace {

using namespace ops;

const ValueType kRow{DType::kFloat32, {2}};

// c' = tanh(c * scale) + x + 2 * step, y = c; within, a scan of its own where `nested`.
Graph Loop(int64_t length, bool reverse, bool nested) {
  Graph g;
  Builder b(g, 0);
  const Value scale = g.AddInput("scale", kRow, 0), c = g.AddInput("c", kRow, 0);
  const Value xs = g.AddInput("xs", {DType::kFloat32, {length, 2}}, 0);
  const std::vector<Value> out = BuildScan(
      b, std::array{scale}, std::array{c}, std::array{xs}, length, reverse,
      [&](Builder& body, const ScanArguments& a) {
        const Value step = body(kCast, {a.step}, {DType::kFloat32});
        const Value two = body(kFull, {}, {Shape{}, DType::kFloat32, 2.0});
        Value x = a.xs[0];
        if (nested) {  // x + 1 + 1 + 1
          x = BuildScan(body, {}, std::array{x}, {}, 3, false,
                        [](Builder& inner, const ScanArguments& i) {
                          const Value one = inner(kFull, {}, {Shape{2}, DType::kFloat32, 1.0});
                          return ScanReturns{{inner(kAdd, {i.carries[0], one})}, {}};
                        })[0];
        }
        const Value product = body(kMultiply, {a.carries[0], a.captures[0]});
        const Value more = body(kMultiply, {step, two});
        const Value next = body(kAdd, {body(kAdd, {body(kTanh, {product}), x}), more});
        return ScanReturns{{next}, {a.carries[0]}};
      });
  g.AddOutput("last", out[0]);
  g.AddOutput("ys", out[1]);
  return g;
}

Tensor Rows(std::initializer_list<float> values, const Shape& shape) {
  Tensor t = Tensor::Empty(DType::kFloat32, shape);
  std::copy(values.begin(), values.end(), t.data<float>());
  return t;
}

std::shared_ptr<const Plan> PlanOn(DeviceKind kind, const Graph& g) {
  return MakePlan(g, {.device = FindBackend(kind).Props(0), .optimize = false});
}

TEST(DeviceControl, AScanIsWhatItIsOnTheCpu) {
  SimDevice();
  const Tensor scale = Rows({0.5f, 0.25f}, {2}), c = Rows({1, -1}, {2});
  for (const bool reverse : {false, true}) {
    for (const bool nested : {false, true}) {
      for (const int64_t length : {0, 1, 2, 5}) {
        const Graph g = Loop(length, reverse, nested);
        Executable here(PlanOn(DeviceKind::kCpu, g), {});
        Executable there(PlanOn(DeviceKind::kCuda, g), {}, SimDevice());
        std::vector<Tensor> want, got;
        for (int run = 0; run < 5; ++run) {
          Tensor xs = Tensor::Empty(DType::kFloat32, {length, 2});
          for (int64_t i = 0; i < xs.numel(); ++i) {
            xs.data<float>()[i] = static_cast<float>(i * 7 % 5 + run);
          }
          const std::array in = {scale, c, xs};
          here.Run(in, &want);
          there.Run(in, &got);
          for (size_t k = 0; k < want.size(); ++k) {
            const Tensor y = got[k].OnHost();
            for (int64_t i = 0; i < want[k].numel(); ++i) {
              EXPECT_EQ(y.data<float>()[i], want[k].data<float>()[i])
                  << "length " << length << " run " << run << " result " << k;
            }
          }
        }
      }
    }
  }
  EXPECT_EQ(Sim().forbidden, 0);
}

// While the sum of a row is below `limit`: x = 2 x + step, within it, where `nested`, a loop that
// adds one until the sum is even.
Graph Doubling(int64_t max_steps, bool nested) {
  const ValueType scalar{DType::kFloat32, {}};
  const auto body_of = [&](auto fill) {
    auto g = std::make_shared<Graph>();
    g->AddInput("limit", scalar, 0);
    g->AddInput("x", kRow, 0);
    g->AddInput("step", {DType::kInt64, {}}, 0);
    Builder b(*g, 0);
    g->AddOutput("y", fill(b, g->inputs()[0], g->inputs()[1], g->inputs()[2]));
    return Body(g);
  };
  const auto sum = [](Builder& b, Value x) {
    return b(kSum, {x}, {std::vector<int64_t>{}, false});
  };
  const Body below = body_of([&](Builder& b, Value limit, Value x, Value) {
    return b(kLess, {sum(b, x), limit});
  });
  const Body odd = body_of([&](Builder& b, Value, Value x, Value) {
    const Value two = Scalar(b, DType::kFloat32, 2);
    return b(kNotEqual, {b(kRemainder, {sum(b, x), two}), Scalar(b, DType::kFloat32, 0)});
  });
  const Body one_more = body_of([&](Builder& b, Value, Value x, Value) {
    Tensor first = Tensor::Zeros(DType::kFloat32, {2});
    first.data<float>()[0] = 1;
    return b(kAdd, {x, b(kConstant, {}, {first})});
  });
  const Body twice = body_of([&](Builder& b, Value limit, Value x, Value step) {
    if (nested) x = b(kWhileLoop, {limit, x}, {odd, one_more, int64_t{1}, int64_t{-1}});
    return b(kAdd, {b(kAdd, {x, x}), b(kCast, {step}, {DType::kFloat32})});
  });
  Graph g;
  Builder b(g, 0);
  const Value limit = g.AddInput("limit", scalar, 0), x = g.AddInput("x", kRow, 0);
  g.AddOutput("y", b(kWhileLoop, {limit, x}, {below, twice, int64_t{1}, max_steps}));
  return g;
}

TEST(DeviceControl, AWhileLoopIsWhatItIsOnTheCpu) {
  SimDevice();
  for (const bool nested : {false, true}) {
    for (const int64_t max_steps : {-1, 0, 2}) {
      const Graph g = Doubling(max_steps, nested);
      Executable here(PlanOn(DeviceKind::kCpu, g), {});
      Executable there(PlanOn(DeviceKind::kCuda, g), {}, SimDevice());
      std::vector<Tensor> want, got;
      for (const float limit : {0.0f, 100.0f, 4.0f, 1000.0f, 3.0f}) {
        const std::array in = {Tensor::Scalar(DType::kFloat32, limit), Rows({1, 2}, {2})};
        here.Run(in, &want);
        there.Run(in, &got);
        const Tensor y = got[0].OnHost();
        for (int i = 0; i < 2; ++i) {
          EXPECT_EQ(y.data<float>()[i], want[0].data<float>()[i])
              << "limit " << limit << " at most " << max_steps;
        }
      }
    }
  }
  EXPECT_EQ(Sim().forbidden, 0);
}

TEST(DeviceControl, AConditionThatMayRefuseItsDataHasNoMaxSteps) {
  const auto plan = [](int64_t max_steps) {
    Graph g;
    const Value table = g.AddInput("table", {DType::kBool, {3}}, 0), x = g.AddInput("x", kRow, 0);
    auto condition = std::make_shared<Graph>(), body = std::make_shared<Graph>();
    for (Graph* part : {condition.get(), body.get()}) {
      part->AddInput("table", {DType::kBool, {3}}, 0);
      part->AddInput("x", kRow, 0);
      part->AddInput("step", {DType::kInt64, {}}, 0);
    }
    Builder b(*condition, 0);
    condition->AddOutput("holds", b(kGather, {condition->inputs()[0], condition->inputs()[2]}));
    body->AddOutput("x", body->inputs()[1]);
    Builder(g, 0).graph().AddOutput(
        "y", Builder(g, 0)(kWhileLoop, {table, x},
                           {Body(condition), Body(body), int64_t{1}, max_steps}));
    PlanOn(DeviceKind::kCuda, g);
  };
  SimDevice();
  plan(-1);
  try {
    plan(5);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotImplemented);
    EXPECT_NE(error.message().find("leave out max_steps, or use ost.scan"), std::string::npos)
        << error.what();
  }
}

// Rows of a table, picked by xs: the third one is bad.
TEST(DeviceControl, BadDataInABodyNameItsOpAndLine) {
  Graph g;
  Builder b(g, 0);
  const SourceLine line{"train.py", 9, "step"};
  const Value table = g.AddInput("table", {DType::kFloat32, {4, 2}}, 0);
  const Value rows = g.AddInput("rows", {DType::kInt64, {3}}, 0);
  const Value c = g.AddInput("c", kRow, 0);
  const std::vector<Value> out =
      BuildScan(b, std::array{table}, std::array{c}, std::array{rows}, 3, false,
                [&](Builder& body, const ScanArguments& a) {
                  Builder there(body.graph(), InternLines({&line, 1}));
                  const Value row = there(kGather, {a.captures[0], a.xs[0]}, {int64_t{0}});
                  return ScanReturns{{body(kAdd, {a.carries[0], row})}, {}};
                });
  g.AddOutput("sum", out[0]);
  SimDevice();
  Executable e(PlanOn(DeviceKind::kCuda, g), {}, SimDevice());
  Tensor picked = Tensor::Zeros(DType::kInt64, {3});
  picked.data<int64_t>()[2] = 4;
  std::vector<Tensor> results;
  for (int run = 0; run < 4; ++run) {
    e.Run(std::array{Rows({1, 2, 3, 4, 5, 6, 7, 8}, {4, 2}), picked, Rows({0, 0}, {2})}, &results);
    try {
      results[0].OnHost();
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()),
                "gather: index 4 in its data is out of range on cuda:0; valid are -4..3 "
                "[train.py:9]");
    }
  }
}

// y = -x or exp(x).
Graph Choice() {
  Graph g;
  const Value holds = g.AddInput("holds", {DType::kBool, {}}, 0);
  const Value x = g.AddInput("x", kRow, 0);
  const auto body = [](const OpDef& op) {
    auto graph = std::make_shared<Graph>();
    Builder b(*graph, 0);
    graph->AddOutput("y", b(op, {graph->AddInput("x", kRow, 0)}));
    return Body(graph);
  };
  Builder b(g, 0);
  g.AddOutput("y", b(kCond, {holds, x}, {body(kNegative), body(kExp)}));
  return g;
}

TEST(DeviceControl, ACondComputesBothAndKeepsOne) {
  SimDevice();
  Executable e(MakePlan(Choice(), {.device = FindBackend(DeviceKind::kCuda).Props(0)}), {},
               SimDevice());
  std::vector<Tensor> out;
  for (int run = 0; run < 6; ++run) {
    const bool holds = run % 3 == 0;
    e.Run(std::array{Tensor::Scalar(DType::kBool, holds), Rows({1, 2}, {2})}, &out);
    const Tensor y = out[0].OnHost();
    EXPECT_NEAR(y.data<float>()[1], holds ? -2 : std::exp(2.0f), 1e-5);
  }
}

TEST(DeviceControl, WhatDependsOnDataIsRefusedWithAWayOut) {
  SimDevice();
  try {
    PlanOn(DeviceKind::kCuda, Choice());  // without passes
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotImplemented);
    EXPECT_NE(error.message().find("compute both and choose with ost.where"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace ostria
