// SPDX-License-Identifier: Apache-2.0
// Planning on the null device: what is in place, what is copied, what is dropped, what is refused.
#include "runtime/plan.h"

#include <gtest/gtest.h>

#include "backend/backend.h"
#include "ir/builder.h"
#include "ops/ops.h"
#include "runtime/executable.h"

namespace ostria {
namespace {

const ValueType kVector{DType::kFloat32, {1024}};

// Op by op: what is tested here is planning, not fusion.
PlanOptions NullDevice() {
  PlanOptions options;
  options.optimize = false;
  options.device = FindBackend(DeviceKind::kNull).Props(0);
  return options;
}

TEST(Plan, ChainOfElementwiseOpsUsesOneBlock) {
  Graph g;
  Builder b(g, 0);
  Value x = g.AddInput("x", kVector, 0);
  for (int i = 0; i < 10; ++i) x = b(ops::kTanh, {x});
  g.AddOutput("y", x);
  const auto plan = MakePlan(g, NullDevice());
  CheckRaces(*plan);
  EXPECT_EQ(plan->steps.size(), 10u);
  EXPECT_EQ(plan->stats.activation_bytes, 4096);  // every op in place, the last into the output
}

TEST(Plan, StateIsUpdatedInPlaceWhenEveryReaderComesBefore) {
  Graph g;
  Builder b(g, 0);
  const Value w = g.AddState(1, "w", kVector, 0);
  const Value doubled = b(ops::kAdd, {w, w});
  const Value read = b(ops::kExp, {w});
  g.AddOutput("old", read);
  g.SetStateOut(0, b(ops::kMultiply, {w, doubled}));
  const auto plan = MakePlan(g, NullDevice());
  CheckRaces(*plan);
  EXPECT_TRUE(plan->copies.empty()) << Print(*plan);
}

TEST(Plan, LateReaderOfOldStateForcesACopy) {
  Graph g;
  Builder b(g, 0);
  const Value w = g.AddState(1, "w", kVector, 0);
  const Value next = b(ops::kExp, {w});
  g.SetStateOut(0, next);
  g.AddOutput("y", b(ops::kAdd, {w, next}));
  const auto plan = MakePlan(g, NullDevice());
  CheckRaces(*plan);
  ASSERT_EQ(plan->copies.size(), 1u) << Print(*plan);
  EXPECT_EQ(plan->copies[0].to.region, Region::kState);
}

TEST(Plan, ReturningTheOldValueKeepsIt) {
  Graph g;
  Builder b(g, 0);
  const Value w = g.AddState(1, "w", kVector, 0);
  g.AddOutput("old", w);
  g.SetStateOut(0, b(ops::kExp, {w}));
  const auto plan = MakePlan(g, NullDevice());
  CheckRaces(*plan);
  ASSERT_EQ(plan->copies.size(), 2u) << Print(*plan);
  EXPECT_EQ(plan->copies[0].to.region, Region::kOutput);
  EXPECT_EQ(plan->copies[1].to.region, Region::kState);
}

TEST(Plan, SwappedStateGoesThroughATemporary) {
  Graph g;
  const Value a = g.AddState(1, "a", kVector, 0), c = g.AddState(2, "c", kVector, 0);
  g.SetStateOut(0, c);
  g.SetStateOut(1, a);
  const auto plan = MakePlan(g, NullDevice());
  int temporaries = 0;
  for (const Copy& copy : plan->copies) temporaries += copy.to.region == Region::kActivation;
  EXPECT_GE(temporaries, 1) << Print(*plan);
}

TEST(Plan, ReshapeIsFree) {
  Graph g;
  Builder b(g, 0);
  Value x = b(ops::kExp, {g.AddInput("x", kVector, 0)});
  x = b(ops::kReshape, {x}, {Shape{32, 32}});
  g.AddOutput("y", b(ops::kTanh, {x}));
  const auto plan = MakePlan(g, NullDevice());
  CheckRaces(*plan);
  EXPECT_EQ(plan->steps.size(), 2u);
}

TEST(Plan, WhatNobodyReadsHasNoMemory) {
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {DType::kFloat32, {4, 256}}, 0);
  const Value scale = g.AddInput("scale", {DType::kFloat32, {256}}, 0);
  const auto norm = b.Multi(ops::kLayerNorm, {x, scale, scale}, {1e-3, int64_t{1}});
  g.AddOutput("mean", norm[1]);
  PlanOptions options;
  options.optimize = false;
  options.device = FindBackend(DeviceKind::kCpu).Props(0);
  const auto plan = MakePlan(g, options);
  CheckRaces(*plan);
  ASSERT_EQ(plan->steps.size(), 1u);
  EXPECT_EQ(plan->stats.activation_bytes, 0);
  EXPECT_EQ(plan->stats.moved_bytes, (4 * 256 + 2 * 256 + 4) * 4);
  EXPECT_NE(Print(*plan).find("unread"), std::string::npos);

  Tensor data = Tensor::Empty(DType::kFloat32, {4, 256}),
         ones = Tensor::Empty(DType::kFloat32, {256});
  for (int i = 0; i < 4 * 256; ++i) data.data<float>()[i] = static_cast<float>(i / 256);
  std::fill_n(ones.data<float>(), 256, 1.0f);
  Executable executable(plan, {});
  std::vector<Tensor> out;
  const Tensor inputs[] = {data, ones};
  executable.Run(inputs, &out);
  for (int r = 0; r < 4; ++r) EXPECT_EQ(out[0].data<float>()[r], static_cast<float>(r));
}

TEST(Plan, EmptyResultsRunNothing) {
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {DType::kFloat32, {0, 8}}, 0);
  g.AddOutput("y", b(ops::kTanh, {b(ops::kExp, {x})}));
  EXPECT_TRUE(MakePlan(g, NullDevice())->steps.empty());
}

TEST(Plan, OverTheLimitNamesTheLargestValuesAndTheirLines) {
  const SourceLine line{"train.py", 42, "main"};
  Graph g;
  Builder b(g, InternLines({&line, 1}));
  const Value x = g.AddInput("x", kVector, 0);
  g.AddOutput("y", b(ops::kExp, {b(ops::kTanh, {x})}));
  PlanOptions options = NullDevice();
  options.device.memory_limit = 1000;
  try {
    MakePlan(g, options);
    FAIL() << "a plan over the limit was accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kOutOfMemory);
    EXPECT_NE(std::string(e.what()).find("4096 bytes  float32[1024]  tanh [train.py:42]"),
              std::string::npos)
        << e.what();
  }
}

TEST(Plan, TwoExecutablesOfOnePlan) {
  Graph g;
  Builder b(g, 0);
  const Value w = g.AddState(1, "w", kVector, 0);
  g.SetStateOut(0, b(ops::kExp, {w}));
  const auto plan = MakePlan(g, NullDevice());
  const DeviceId device{DeviceKind::kNull, 0};
  const Tensor zeros = Tensor::Zeros(DType::kFloat32, {1024});
  Executable first(plan, {Variable::Create("a", zeros, StateClass::kOther, device)}, device);
  Executable second(plan, {Variable::Create("c", zeros, StateClass::kOther, device)}, device);
  std::vector<Tensor> outputs;
  first.Run({}, &outputs);
  second.Run({}, &outputs);
}

}  // namespace
}  // namespace ostria
