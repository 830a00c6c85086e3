// SPDX-License-Identifier: Apache-2.0
// How the cost of planning a training step grows with its layers. Ratios of processor time, so that
// neither the machine nor a busy neighbour matters.
#include <gtest/gtest.h>
#include <time.h>

#include <algorithm>

#include "autodiff/gradient.h"
#include "backend/backend.h"
#include "ir/builder.h"
#include "ops/ops.h"
#include "runtime/plan.h"

namespace ostria {
namespace {

double Seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// `layers` dense layers with a bias and relu, their gradients and one Adam step for all weights.
struct TrainingStep {
  Graph graph;
  PlanOptions options;

  explicit TrainingStep(int layers) {
    Builder b(graph, 0);
    const ValueType scalar{DType::kFloat32, {}};
    const auto state = [&](const std::string& name, const Shape& shape) {
      const auto id = static_cast<int64_t>(graph.state().size());
      options.layout.places.push_back({id, 0, 1024 * id});
      return graph.AddState(id, name, {DType::kFloat32, shape}, 0);
    };
    Value x = graph.AddInput("x", {DType::kFloat32, {4, 8}}, 0);
    std::vector<Value> weights, operands;
    for (int i = 0; i < layers; ++i) {
      weights.push_back(state(StrCat("kernel", i), {8, 8}));
      weights.push_back(state(StrCat("bias", i), {8}));
      x = b(ops::kRelu,
            {b(ops::kAdd, {b(ops::kMatmul, {x, weights[weights.size() - 2]}), weights.back()})});
    }
    const Value loss = b(ops::kSum, {x});
    graph.AddOutput("loss", loss);
    operands = weights;
    const Value losses[] = {loss};
    for (const Value g : Gradients(graph, losses, {}, weights)) operands.push_back(g);
    for (const char* slot : {"m", "v"}) {
      for (const Value w : weights) operands.push_back(state(slot, graph.shape(w)));
    }
    operands.push_back(graph.AddInput("lr", scalar, 0));
    operands.push_back(graph.AddInput("step", scalar, 0));
    operands.push_back(graph.AddInput("grad_scale", scalar, 0));
    operands.push_back(graph.AddInput("commit", {DType::kBool, {}}, 0));
    const std::vector<Value> updated = b.Multi(ops::kAdamUpdate, operands);
    for (size_t i = 0; i < updated.size(); ++i) graph.SetStateOut(static_cast<int>(i), updated[i]);
    options.device = FindBackend(DeviceKind::kCpu).Props(0);
  }
};

double CheapestPlan(const TrainingStep& step, int times) {
  double least = 1e9;
  for (int i = 0; i < times; ++i) {
    const double begin = Seconds();
    const auto plan = MakePlan(step.graph, step.options);
    least = std::min(least, Seconds() - begin);
    EXPECT_TRUE(plan->copies.empty());
  }
  return least;
}

TEST(PlanGrowth, ATrainingStepOfEightTimesTheLayersCostsAboutEightTimesAsMuch) {
  const double few = CheapestPlan(TrainingStep(64), 5);
  const double many = CheapestPlan(TrainingStep(512), 3);
  EXPECT_LT(many / few, 24.0) << few * 1e3 << " ms and " << many * 1e3 << " ms";  // quadratic: 64
}

TEST(PlanGrowth, ResultsOfAnOptimizerThatAreOutputsCostNoMoreEach) {
  const auto outputs = [](int layers) {
    TrainingStep step(layers);
    for (const StateEntry& s : step.graph.state()) step.graph.AddOutput(s.name, s.out);
    double least = 1e9;
    for (int i = 0; i < 3; ++i) {
      const double begin = Seconds();
      MakePlan(step.graph, step.options);
      least = std::min(least, Seconds() - begin);
    }
    return least;
  };
  const double few = outputs(64), many = outputs(512);
  EXPECT_LT(many / few, 24.0) << few * 1e3 << " ms and " << many * 1e3 << " ms";
}

}  // namespace
}  // namespace ostria
