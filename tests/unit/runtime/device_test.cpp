// SPDX-License-Identifier: Apache-2.0
// Plans on a device that computes by itself: what they compute, in which order, and what a replay
// may not do.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <thread>

#include "backend/backend.h"
#include "ir/builder.h"
#include "ops/common/control.h"
#include "ops/ops.h"
#include "runtime/compiled_graph.h"
#include "runtime/live_device.h"
#include "runtime/sim_device.h"

namespace ostria {
namespace {

constexpr auto kF32 = DType::kFloat32;

Tensor Filled(const Shape& shape, float value) {
  Tensor t = Tensor::Empty(kF32, shape);
  std::fill_n(t.data<float>(), t.numel(), value);
  return t;
}

bool AllAre(const Tensor& t, float value) {
  const Tensor host = t.OnHost();
  return std::all_of(host.data<float>(), host.data<float>() + host.numel(),
                     [=](float x) { return x == value; });
}

std::shared_ptr<const Plan> SimPlan(const Graph& g) {
  auto plan = MakePlan(g, {.device = FindBackend(DeviceKind::kCuda).Props(0)});
  CheckRaces(*plan);
  return plan;
}

std::shared_ptr<Variable> OnSim(const Shape& shape, float value) {
  return Variable::Create("w", Filled(shape, value), StateClass::kTrainable, SimDevice());
}

// w <- w + x; results: the new w (large), its first element (small), and x (a copy of an input).
Graph Accumulator(const Variable& w) {
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {kF32, w.shape()}, 0);
  const Value v = g.AddState(w.id(), "w", {kF32, w.shape()}, 0);
  const Value next = b(ops::kAdd, {v, x});
  g.SetStateOut(0, next);
  g.AddOutput("w", next);
  g.AddOutput("max", b(ops::kMax, {next}, {std::vector<int64_t>{0}, false}));
  g.AddOutput("x", x);
  return g;
}

const Shape kLarge = {4099};

TEST(Device, RunsAheadOfTheHostAndEveryResultIsItsOwn) {
  const auto w = OnSim(kLarge, 1);
  Executable e(SimPlan(Accumulator(*w)), {w}, SimDevice());
  constexpr int kRuns = 9;
  std::vector<std::vector<Tensor>> results(kRuns);
  const int64_t waits = Sim().waits;
  for (int i = 0; i < kRuns; ++i) {
    const Tensor x = Filled(kLarge, static_cast<float>(i));
    e.Run({&x, 1}, &results[i]);
    x.data<float>()[0] = 1000;  // the caller's own again
  }
  EXPECT_LE(Sim().waits - waits, kRuns - 2);  // for pinned memory, two runs ahead
  float sum = 1;
  for (int i = 0; i < kRuns; ++i) {
    sum += static_cast<float>(i);
    EXPECT_FALSE(results[i][0].on_host());
    EXPECT_EQ(results[i][0].device(), SimDevice());
    EXPECT_TRUE(AllAre(results[i][0], sum)) << "run " << i;
    EXPECT_EQ(*results[i][1].OnHost().data<float>(), sum) << "run " << i;
    EXPECT_TRUE(AllAre(results[i][2], static_cast<float>(i))) << "run " << i;
  }
  EXPECT_TRUE(AllAre(w->Snapshot(), sum));
}

TEST(Device, AReplayIsOneLaunch) {
  const auto w = OnSim(kLarge, 0);
  Executable e(SimPlan(Accumulator(*w)), {w}, SimDevice());
  std::vector<Tensor> out;
  const auto run = [&] {
    const Tensor x = Filled(kLarge, 1);
    e.Run({&x, 1}, &out);
    LiveDevice::Of(SimDevice())->Synchronize();
  };
  for (int i = 0; i < 4; ++i) run();  // plainly, recorded for both staging sets, replayed
  const int64_t allocations = Sim().allocations, binds = Sim().binds, launches = Sim().launches,
                captures = Sim().captures, graphs = Sim().graph_launches;
  for (int i = 0; i < 5; ++i) run();
  EXPECT_EQ(Sim().allocations, allocations);
  EXPECT_EQ(Sim().binds, binds);
  EXPECT_EQ(Sim().launches, launches);
  EXPECT_EQ(Sim().captures, captures);
  EXPECT_EQ(Sim().graph_launches, graphs + 5);
  EXPECT_EQ(Sim().forbidden, 0);
  const int64_t waits = Sim().waits;
  const Tensor x = Filled(kLarge, 1);
  e.Run({&x, 1}, &out);
  EXPECT_EQ(Sim().waits, waits);
  EXPECT_TRUE(AllAre(out[0], 10));
}

TEST(Device, ResultsGoOnToOtherExecutablesWithoutWaiting) {
  const auto a = OnSim(kLarge, 0), b = OnSim(kLarge, 0);
  Executable first(SimPlan(Accumulator(*a)), {a}, SimDevice());
  Executable second(SimPlan(Accumulator(*b)), {b}, SimDevice());
  std::vector<Tensor> out;
  const Tensor x = LiveDevice::Of(SimDevice())->ToDevice(Filled(kLarge, 1));
  const int64_t waits = Sim().waits;
  for (int i = 0; i < 6; ++i) {
    first.Run({&x, 1}, &out);
    const Tensor sum = out[0];
    second.Run({&sum, 1}, &out);
  }
  EXPECT_EQ(Sim().waits, waits);
  EXPECT_TRUE(AllAre(a->Snapshot(), 6));
  EXPECT_TRUE(AllAre(out[0], 1 + 2 + 3 + 4 + 5 + 6));
}

// y = x * exp(w): the exponential is kept.
TEST(Device, WhatIsKeptIsComputedWhenStateWasWritten) {
  const auto w = OnSim({64}, 0);
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {kF32, {64}}, 0);
  const Value v = g.AddState(w->id(), "w", {kF32, {64}}, 0);
  g.AddOutput("y", b(ops::kMultiply, {x, b(ops::kExp, {v})}));
  const auto plan = SimPlan(g);
  ASSERT_EQ(plan->num_kept, 1) << Print(*plan);
  Executable e(plan, {w}, SimDevice());
  std::vector<Tensor> out;
  for (int round = 0; round < 4; ++round) {
    w->Assign(Filled({64}, static_cast<float>(round)));
    for (int i = 0; i < 4; ++i) {
      const Tensor in = Filled({64}, static_cast<float>(i));
      const int64_t launched = Sim().graph_launches + Sim().launches;
      e.Run({&in, 1}, &out);
      EXPECT_EQ(Sim().graph_launches + Sim().launches - launched, i == 0 ? 2 : 1);
      EXPECT_NEAR(*out[0].OnHost().data<float>(), static_cast<float>(i) * std::exp(1.0f * round),
                  1e-3);
    }
  }
}

TEST(Device, ConstantsGoThereOnce) {
  Graph g;
  Builder b(g, 0);
  Tensor c = Filled({71, 229}, 2);
  c.data<float>()[71 * 229 - 1] = 5;  // so that it is no filled tensor
  const Value x = g.AddInput("x", {kF32, {71, 229}}, 0);
  g.AddOutput("y", b(ops::kAdd, {x, b(ops::kConstant, {}, {c})}));
  Executable e(SimPlan(g), {}, SimDevice());
  std::vector<Tensor> out;
  for (int i = 0; i < 3; ++i) {
    const Tensor in = Filled({71, 229}, static_cast<float>(i));
    e.Run({&in, 1}, &out);
    const Tensor y = out[0].OnHost();
    EXPECT_EQ(y.data<float>()[0], static_cast<float>(i + 2));
    EXPECT_EQ(y.data<float>()[71 * 229 - 1], static_cast<float>(i + 5));
  }
}

TEST(Device, EmptyAndAbsentOperandsRun) {
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {kF32, {0, 3}}, 0);
  g.AddOutput("y", b(ops::kNegative, {x}));
  g.AddOutput("x", x);
  Executable e(SimPlan(g), {}, SimDevice());
  std::vector<Tensor> out;
  for (int i = 0; i < 3; ++i) {
    const Tensor in = Filled({0, 3}, 0);
    e.Run({&in, 1}, &out);
    EXPECT_TRUE(out[0].shape() == (Shape{0, 3}));
    EXPECT_EQ(out[1].OnHost().numel(), 0);
  }
  Executable nothing(SimPlan(Graph()), {}, SimDevice());
  for (int i = 0; i < 3; ++i) nothing.Run({}, &out);
  EXPECT_TRUE(out.empty());
}

Graph Picks(LocationId where) {
  Graph g;
  const Value table = g.AddInput("table", {kF32, {5, 2}}, 0);
  const Value rows = g.AddInput("rows", {DType::kInt64, {3}}, 0);
  Builder b(g, where);
  g.AddOutput("y", b(ops::kGather, {table, rows}, {int64_t{0}}));
  return g;
}

TEST(Device, BadDataIsReportedOnceWithTheOpAndTheLine) {
  const SourceLine line{"train.py", 42, "step"};
  Executable e(SimPlan(Picks(InternLines({&line, 1}))), {}, SimDevice());
  Tensor rows = Tensor::Zeros(DType::kInt64, {3});
  std::vector<Tensor> out;
  const auto run = [&](int64_t row) {
    rows.data<int64_t>()[1] = row;
    const Tensor in[] = {Filled({5, 2}, 1), rows};
    e.Run(in, &out);
  };
  for (int i = 0; i < 4; ++i) {  // plain, recorded twice, replayed
    run(7);
    try {
      out[0].OnHost();
      FAIL() << "nothing was reported";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kIndexError);
      EXPECT_EQ(std::string(error.what()),
                "gather: index 7 in its data is out of range on cuda:0; valid are -5..4 "
                "[train.py:42]");
    }
    run(2);
    EXPECT_TRUE(AllAre(out[0], 1));
  }
  run(-6);
  LiveDevice::Of(SimDevice())->Finish();
  EXPECT_THROW(run(1), Error);  // nobody looked at the result: the next run says so
  run(1);
  EXPECT_TRUE(AllAre(out[0], 1));
}

// exp(x) + tanh(x) + a scan that doubles x thrice: branches that may run side by side.
TEST(Device, BranchesSideBySideAreWhatTheyAreInARow) {
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {kF32, kLarge}, 0);
  const Value doubled = ops::BuildScan(
      b, {}, std::array{x}, {}, 3, false, [](Builder& body, const ops::ScanArguments& a) {
        return ops::ScanReturns{{body(ops::kAdd, {a.carries[0], a.carries[0]})}, {}};
      })[0];
  g.AddOutput("y", b(ops::kAdd, {b(ops::kAdd, {b(ops::kExp, {x}), b(ops::kTanh, {x})}), doubled}));
  const DeviceProps sim = FindBackend(SimDevice().kind).Props(0);
  const auto plan = MakePlan(g, {.device = sim, .optimize = false, .streams = 4});
  CheckRaces(*plan);
  ASSERT_GT(plan->num_streams, 1);
  Executable e(plan, {}, SimDevice());
  std::vector<Tensor> out;
  const auto check = [&](float at) {
    EXPECT_NEAR(*out[0].OnHost().data<float>(), std::exp(at) + std::tanh(at) + 8 * at, 1e-4);
  };
  for (int i = 0; i < 6; ++i) {
    const Tensor in = Filled(kLarge, 0.1f * static_cast<float>(i));
    e.Run({&in, 1}, &out);
    check(*in.data<float>());
    e.RunDebug({&in, 1}, &out);
    check(*in.data<float>());
  }
  const Tensor in = Filled(kLarge, 1);
  for (double ns : e.Profile({&in, 1}, 2)) EXPECT_GT(ns, 0);
}

TEST(Device, ManyThreadsRunOneExecutable) {
  const auto w = OnSim(kLarge, 0);
  Executable e(SimPlan(Accumulator(*w)), {w}, SimDevice());
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        std::vector<Tensor> out;
        for (int i = 0; i < 10; ++i) {
          const Tensor x = Filled(kLarge, 1);
          e.Run({&x, 1}, &out);
          const Tensor sum = out[0].OnHost();
          EXPECT_TRUE(AllAre(sum, *sum.data<float>()));
        }
      });
    }
  }
  EXPECT_TRUE(AllAre(w->Snapshot(), 40));
}

TEST(Device, MemoryOfGoneExecutablesIsUsedAgainInOrder) {
  const auto w = OnSim(kLarge, 0);
  std::vector<Tensor> out;
  std::vector<Tensor> all;
  for (int i = 0; i < 5; ++i) {
    Executable e(SimPlan(Accumulator(*w)), {w}, SimDevice());
    for (int k = 0; k < 3; ++k) {
      const Tensor x = Filled(kLarge, 1);
      e.Run({&x, 1}, &out);
      all.push_back(out[0]);
    }
  }
  for (size_t i = 0; i < all.size(); ++i) EXPECT_TRUE(AllAre(all[i], static_cast<float>(i + 1)));
}

}  // namespace
}  // namespace ostria
