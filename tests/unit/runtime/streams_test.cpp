// SPDX-License-Identifier: Apache-2.0
// Steps side by side: what runs where, that what must wait does, and that plans still compute the
// same in every order that is allowed.
#include "runtime/streams.h"

#include <gtest/gtest.h>

#include <cstring>

#include "backend/backend.h"
#include "ir/builder.h"
#include "ops/ops.h"
#include "runtime/shuffled.h"

namespace ostria {
namespace {

const ValueType kSquare{DType::kFloat32, {24, 24}};

PlanOptions OnStreams(int streams) {
  PlanOptions options;
  options.optimize = false;
  options.keeps = false;  // the CPU would pack
  options.device = FindBackend(DeviceKind::kCpu).Props(0);
  options.streams = streams;
  return options;
}

Tensor Numbers(const ValueType& type, int seed) {
  Tensor t = Tensor::Empty(type.dtype, type.shape);
  for (int64_t i = 0; i < t.numel(); ++i) {
    t.data<float>()[i] = static_cast<float>((i * 37 + seed * 11) % 19 - 9) / 9.0f;
  }
  return t;
}

// Two chains that meet: a wide graph with a join and a fork, whose memory is used again.
Graph Branches(int width, int depth) {
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", kSquare, 0);
  const Value w = g.AddState(1, "w", kSquare, 0);
  std::vector<Value> ends;
  for (int i = 0; i < width; ++i) {
    Value v = b(ops::kMatmul, {x, w}, {false, i % 2 == 1});
    for (int k = 0; k < depth; ++k) v = b(k % 2 == 0 ? ops::kTanh : ops::kSquare, {v});
    ends.push_back(v);
  }
  Value sum = ends[0];
  for (size_t i = 1; i < ends.size(); ++i) sum = b(ops::kAdd, {sum, ends[i]});
  g.AddOutput("y", sum);
  g.SetStateOut(0, b(ops::kSubtract, {w, b(ops::kMultiply, {sum, ends.back()})}));
  return g;
}

TEST(Streams, ABranchGetsAStreamAndAChainStaysOnOne) {
  const auto plan = MakePlan(Branches(3, 4), OnStreams(4));
  CheckRaces(*plan);
  EXPECT_EQ(plan->num_streams, 3) << Print(*plan);
  int waits = 0;
  for (const Step& s : plan->steps) waits += static_cast<int>(s.waits.size());
  EXPECT_LE(waits, 12) << Print(*plan);  // joins, and memory that is used again; no chain waits
  const auto narrow = MakePlan(Branches(1, 6), OnStreams(4));
  EXPECT_EQ(narrow->num_streams, 1) << Print(*narrow);
  EXPECT_EQ(MakePlan(Branches(8, 2), OnStreams(4))->num_streams, 4);
}

// It reads no value of theirs, only what they report.
TEST(Streams, WhetherDataAreAcceptedIsAskedBehindEveryCheck) {
  Graph g;
  Builder b(g, 0);
  const Value table = g.AddInput("table", kSquare, 0),
              decision = g.AddInput("c", {DType::kBool, {}}, 0);
  for (int i = 0; i < 3; ++i) {
    const Value ids = g.AddInput(StrCat("ids", i), {DType::kInt64, {5}}, 0);
    g.AddOutput(StrCat("rows", i), b(ops::kGather, {table, ids}));
  }
  g.AddOutput("decided", b.Multi(ops::kDataAccepted, {decision})[1]);
  PlanOptions options = OnStreams(4);
  options.device = FindBackend(DeviceKind::kNull).Props(0);
  const auto plan = MakePlan(g, options);
  EXPECT_EQ(plan->num_streams, 3) << Print(*plan);
  CheckRaces(*plan);
  const HappensBefore order(*plan);
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(order.Ordered(i, 3)) << Print(*plan);
  const_cast<Step&>(plan->steps[3]).waits.clear();
  EXPECT_THROW(CheckRaces(*plan), Error);
}

TEST(Streams, EveryAllowedOrderComputesTheSame) {
  for (const int width : {2, 3, 7}) {
    const Graph g = Branches(width, 3);
    const std::vector<Tensor> inputs = {Numbers(kSquare, 1)}, state = {Numbers(kSquare, 2)};
    const ShuffledResult want = RunShuffled(*MakePlan(g, OnStreams(1)), inputs, state, 0);
    for (const int streams : {2, 4}) {
      const auto plan = MakePlan(g, OnStreams(streams));
      CheckRaces(*plan);
      for (uint64_t seed = 0; seed < 50; ++seed) {
        const ShuffledResult got = RunShuffled(*plan, inputs, state, seed);
        const auto bytes = static_cast<size_t>(want.outputs[0].bytes());
        ASSERT_EQ(std::memcmp(got.outputs[0].raw(), want.outputs[0].raw(), bytes), 0) << seed;
        ASSERT_EQ(std::memcmp(got.state[0].raw(), want.state[0].raw(), bytes), 0) << seed;
      }
    }
  }
}

// Two sorts of other inputs that are joined only at the end: each has its own workspace, and
// neither waits for the other.
TEST(Streams, WorkspacesOfStepsSideBySideAreTheirOwn) {
  Graph g;
  Builder b(g, 0);
  std::vector<Value> ends;
  for (int i = 0; i < 2; ++i) {
    const Value x = g.AddInput(StrCat("x", i), kSquare, 0);
    ends.push_back(b(ops::kSort, {x}, {int64_t{0}, false}));
  }
  g.AddOutput("y", b(ops::kAdd, {ends[0], ends[1]}));
  const auto plan = MakePlan(g, OnStreams(2));
  CheckRaces(*plan);
  std::vector<const Step*> with;
  for (const Step& s : plan->steps) {
    if (s.state->workspace_bytes > 0) with.push_back(&s);
  }
  ASSERT_EQ(with.size(), 2u) << Print(*plan);
  EXPECT_NE(with[0]->stream, with[1]->stream) << Print(*plan);
  EXPECT_TRUE(with[0]->waits.empty() && with[1]->waits.empty()) << Print(*plan);
}

// Takes away each wait in turn: the proof must name the step, and some order must show it.
TEST(Streams, AMissingWaitIsProvedAndShown) {
  const Graph g = Branches(4, 3);
  const std::vector<Tensor> inputs = {Numbers(kSquare, 1)}, state = {Numbers(kSquare, 2)};
  const auto plan = MakePlan(g, OnStreams(4));
  const ShuffledResult want = RunShuffled(*plan, inputs, state, 0);
  int broken = 0, shown = 0;
  for (size_t i = 0; i < plan->steps.size(); ++i) {
    if (plan->steps[i].waits.empty()) continue;
    Plan less;
    less.graph = plan->graph.Clone();
    less.steps = plan->steps;
    less.operands = plan->operands;
    less.copies = plan->copies;
    less.state = plan->state;
    less.inputs = plan->inputs;
    less.outputs = plan->outputs;
    less.constants = plan->constants;
    less.stats = plan->stats;
    less.num_streams = plan->num_streams;
    less.steps[i].waits.clear();
    EXPECT_THROW(CheckRaces(less), Error) << "step " << i << "\n" << Print(*plan);
    if (plan->steps[i].state->workspace_bytes > 0) continue;  // steps here run one at a time
    ++broken;
    for (uint64_t seed = 0; seed < 200; ++seed) {
      const ShuffledResult got = RunShuffled(less, inputs, state, seed);
      const auto bytes = static_cast<size_t>(want.outputs[0].bytes());
      if (std::memcmp(got.outputs[0].raw(), want.outputs[0].raw(), bytes) != 0 ||
          std::memcmp(got.state[0].raw(), want.state[0].raw(), bytes) != 0) {
        ++shown;
        break;
      }
    }
  }
  EXPECT_GE(broken, 3);
  EXPECT_EQ(shown, broken);
}

}  // namespace
}  // namespace ostria
