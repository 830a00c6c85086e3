// SPDX-License-Identifier: Apache-2.0
// What derives from state alone: computed when a Variable was written, kept from run to run.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "backend/backend.h"
#include "ir/builder.h"
#include "ops/ops.h"
#include "runtime/compiled_graph.h"

namespace ostria {
namespace {

Tensor Filled(const Shape& shape, float value) {
  Tensor t = Tensor::Empty(DType::kFloat32, shape);
  std::fill_n(t.data<float>(), t.numel(), value);
  return t;
}

std::shared_ptr<const Plan> PlanOf(const Graph& g) {
  auto plan = MakePlan(g, {.device = FindBackend(DeviceKind::kCpu).Props(0)});
  CheckRaces(*plan);
  return plan;
}

// y = x * exp(w): the exponential is kept.
struct Scale {
  std::shared_ptr<Variable> w = Variable::Create("w", Filled({64}, 0), StateClass::kTrainable);
  Graph g;
  Scale() {
    Builder b(g, 0);
    const Value x = g.AddInput("x", {DType::kFloat32, {64}}, 0);
    const Value v = g.AddState(w->id(), "w", {DType::kFloat32, {64}}, 0);
    g.AddOutput("y", b(ops::kMultiply, {x, b(ops::kExp, {v})}));
  }
};

float First(Executable& e, float x) {
  const Tensor in = Filled({64}, x);
  std::vector<Tensor> out;
  e.Run({&in, 1}, &out);
  return *out[0].data<float>();
}

TEST(Kept, IsComputedOnceAndCountedInThePeak) {
  Scale s;
  const auto plan = PlanOf(s.g);
  EXPECT_EQ(plan->num_kept, 1) << Print(*plan);
  EXPECT_EQ(plan->stats.kept_bytes, 256);
  EXPECT_EQ(plan->stats.peak_bytes(), plan->stats.activation_bytes + 4 * 256);
  EXPECT_EQ(plan->stats.moved_bytes, 3 * 256);  // of a run that finds it
  Executable e(plan, {s.w});
  EXPECT_EQ(First(e, 2), 2.0f);
  // Behind the store's back: whoever recomputed would see it.
  static_cast<float*>(s.w->data())[0] = 1;
  EXPECT_EQ(First(e, 3), 3.0f);
}

TEST(Kept, AnAssignedVariableIsSeen) {
  Scale s;
  const auto plan = PlanOf(s.g);
  Executable e(plan, {s.w}), other(plan, {s.w});
  EXPECT_EQ(First(e, 1), 1.0f);
  EXPECT_EQ(First(other, 1), 1.0f);
  s.w->Assign(Filled({64}, 1));
  EXPECT_NEAR(First(e, 1), 2.718282f, 1e-5);
  EXPECT_NEAR(First(other, 1), 2.718282f, 1e-5);
  const auto unrelated = Variable::Create("u", Filled({64}, 0), StateClass::kTrainable);
  EXPECT_NEAR(First(e, 2), 5.436564f, 1e-5);
}

TEST(Kept, AnotherPlansStepIsSeen) {
  Scale s;
  Graph g;
  Builder b(g, 0);
  const Value v = g.AddState(s.w->id(), "w", {DType::kFloat32, {64}}, 0);
  const Value next = b(ops::kAdd, {v, b(ops::kFull, {}, {Shape{64}, DType::kFloat32, 1.0})});
  g.SetStateOut(0, next);
  Executable e(PlanOf(s.g), {s.w}), step(PlanOf(g), {s.w});
  std::vector<Tensor> out;
  EXPECT_EQ(First(e, 1), 1.0f);
  step.Run({}, &out);
  EXPECT_NEAR(First(e, 1), 2.718282f, 1e-5);
  step.RunDebug({}, &out);
  EXPECT_NEAR(First(e, 1), 7.389056f, 1e-5);
  step.Profile({}, 2);
  EXPECT_NEAR(First(e, 1), 7.389056f, 1e-5);
}

TEST(Kept, NothingOfWhatThePlanWrites) {
  Scale s;
  Builder b(s.g, 0);
  s.g.SetStateOut(0, b(ops::kTanh, {s.g.state()[0].in}));
  EXPECT_EQ(PlanOf(s.g)->num_kept, 0);
}

TEST(Kept, AnOutputThatIsKeptIsCopied) {
  const auto w = Variable::Create("w", Filled({64}, 0), StateClass::kTrainable);
  Graph g;
  Builder b(g, 0);
  g.AddOutput("y", b(ops::kExp, {g.AddState(w->id(), "w", {DType::kFloat32, {64}}, 0)}));
  Executable e(PlanOf(g), {w});
  std::vector<Tensor> first, second;
  e.Run({}, &first);
  first[0].data<float>()[0] = 7;  // the caller's own
  e.Run({}, &second);
  EXPECT_EQ(*second[0].data<float>(), 1.0f);
}

// A convolution of a kernel that lasts packs it once; its plain form after a product need not live.
TEST(Kept, AConvolutionsKernelIsPackedOnce) {
  const auto w = Variable::Create("w", Filled({32, 3, 3, 32}, 1), StateClass::kTrainable);
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {DType::kFloat32, {1, 8, 8, 32}}, 0);
  const Value v = g.AddState(w->id(), "w", {DType::kFloat32, {32, 3, 3, 32}}, 0);
  g.AddOutput("y", b(ops::kConv2d, {x, b(ops::kTanh, {v})}));
  const auto plan = PlanOf(g);
  ASSERT_EQ(plan->steps.size(), 3u) << Print(*plan);
  EXPECT_EQ(plan->num_kept, 2);
  EXPECT_TRUE(plan->steps[1].pack);
  EXPECT_LT(plan->stats.kept_bytes, 2 * w->bytes());  // packed, and not plain too
  EXPECT_EQ(plan->stats.activation_bytes, w->bytes());
  Executable e(plan, {w});
  const Tensor in = Filled({1, 8, 8, 32}, 1);
  std::vector<Tensor> out;
  for (float value : {0.5f, 0.5f, 2.0f}) {
    w->Assign(Filled({32, 3, 3, 32}, value));
    for (const bool debug : {false, true}) {
      debug ? e.RunDebug({&in, 1}, &out) : e.Run({&in, 1}, &out);
      EXPECT_NEAR(*out[0].data<float>(), 9 * 32 * std::tanh(value), 1e-3);
    }
  }
}

TEST(Kept, ConvolutionsThatPackAlikeShareOneCopy) {
  const auto w = Variable::Create("w", Filled({32, 3, 3, 32}, 1), StateClass::kTrainable);
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {DType::kFloat32, {1, 8, 8, 32}}, 0);
  const Value z = g.AddInput("z", {DType::kFloat32, {1, 8, 8, 32}}, 0);
  const Value v = g.AddState(w->id(), "w", {DType::kFloat32, {32, 3, 3, 32}}, 0);
  using Ints = std::vector<int64_t>;
  const auto conv = [&](Value image, int64_t stride) {
    return b(ops::kConv2d, {image, v},
             {Ints{stride, stride}, Ints{0, 0, 0, 0}, Ints{1, 1}, int64_t{1}});
  };
  g.AddOutput("a", conv(x, 1));
  g.AddOutput("b", conv(z, 1));
  g.AddOutput("c", conv(z, 2));  // may want another layout
  const auto plan = PlanOf(g);
  EXPECT_EQ(plan->num_kept, 2) << Print(*plan);
  EXPECT_LT(plan->stats.kept_bytes, 3 * w->bytes());
  Executable e(plan, {w});
  const Tensor in[] = {Filled({1, 8, 8, 32}, 1), Filled({1, 8, 8, 32}, 2)};
  std::vector<Tensor> out;
  for (float value : {1.0f, 0.5f}) {
    w->Assign(Filled({32, 3, 3, 32}, value));
    e.Run(in, &out);
    EXPECT_EQ(*out[0].data<float>(), 9 * 32 * value);
    EXPECT_EQ(*out[1].data<float>(), 2 * 9 * 32 * value);
    EXPECT_EQ(*out[2].data<float>(), 2 * 9 * 32 * value);
  }
}

TEST(Kept, AStepThatFailedIsNotTakenForDone) {
  Tensor ids = Tensor::Zeros(DType::kInt64, {2});
  ids.data<int64_t>()[1] = 9;
  const auto w = Variable::Create("w", Filled({3, 4}, 2), StateClass::kTrainable);
  const auto at = Variable::Create("at", ids, StateClass::kOther);
  Graph g;
  Builder b(g, 0);
  const Value v = g.AddState(w->id(), "w", {DType::kFloat32, {3, 4}}, 0);
  const Value i = g.AddState(at->id(), "at", {DType::kInt64, {2}}, 0);
  const Value x = g.AddInput("x", {DType::kFloat32, {2, 4}}, 0);
  g.AddOutput("y", b(ops::kMultiply, {x, b(ops::kGather, {v, i})}));
  const auto plan = PlanOf(g);
  EXPECT_EQ(plan->num_kept, 1) << Print(*plan);
  Executable e(plan, {w, at});
  const Tensor in = Filled({2, 4}, 3);
  std::vector<Tensor> out;
  for (int k = 0; k < 2; ++k) EXPECT_THROW(e.Run({&in, 1}, &out), Error);
  at->Assign(Tensor::Zeros(DType::kInt64, {2}));
  e.Run({&in, 1}, &out);
  EXPECT_EQ(*out[0].data<float>(), 6.0f);
}

TEST(Kept, ADamagedPlanIsNotSafe) {
  Scale s;
  const auto made = MakePlan(s.g, {.device = FindBackend(DeviceKind::kCpu).Props(0)});
  Plan& plan = const_cast<Plan&>(*made);
  for (Operand& o : plan.operands) {
    if (o.region == Region::kKept) o.region = Region::kActivation;
  }
  EXPECT_THROW(CheckRaces(plan), Error);  // activations do not last from run to run
}

}  // namespace
}  // namespace ostria
