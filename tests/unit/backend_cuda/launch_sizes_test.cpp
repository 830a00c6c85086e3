// SPDX-License-Identifier: Apache-2.0
// What a description of a GPU decides of the launches that are planned for it.
#include <gtest/gtest.h>

#include <string>

#include "backend/backend.h"
#include "backend/cuda/codegen/codegen.h"
#include "backend/cuda/launch/launch.h"
#include "ir/builder.h"
#include "kernels/loss/softmax_cross_entropy.h"
#include "loop/program.h"
#include "ops/ops.h"
#include "runtime/plan.h"

namespace ostria {

Backend* CudaBackend();

namespace {

DeviceProps With(int multiprocessors) {
  std::string text = CudaBackend()->Props(0).description;
  const std::string key = "\"multiProcessorCount\":";
  const size_t at = text.find(key) + key.size();
  return CudaBackend()->Described(text.substr(0, at) + std::to_string(multiprocessors) +
                                  text.substr(text.find(',', at)));
}

// Blocks of the only launch of a plan for `rows` rows, which warps take.
unsigned PlannedBlocks(int64_t rows, int multiprocessors) {
  RegisterBackend(CudaBackend());
  Graph g;
  Builder b(g, 0);
  const Value logits = g.AddInput("logits", {DType::kFloat32, Shape::FromSizes({{rows, 16}})}, 0);
  const Value labels = g.AddInput("labels", {DType::kInt32, Shape::FromSizes({{rows}})}, 0);
  g.AddOutput("loss", b(ops::kSparseSoftmaxCrossEntropy, {logits, labels}));
  const auto plan = MakePlan(g, {.device = With(multiprocessors)});
  EXPECT_EQ(plan->steps.size(), 1u);
  using State = cuda::OneLaunch<kernels::SoftmaxCrossEntropyParams>;
  return dynamic_cast<const State&>(*plan->steps.at(0).state).shape.grid[0];
}

unsigned GeneratedBlocks(int multiprocessors) {
  const auto loop = cuda::GenerateLoop(ParseLoop("loop [4194304, 16] columns 1\n"
                                                 "input float32 [16, 1]\n"
                                                 "%0 = load float32 input 0\n"
                                                 "%1 = exp float32 %0\n"
                                                 "output float32 [16, 1] %1\n"),
                                       With(multiprocessors));
  return loop->launches.at(0).shape.grid[0];
}

TEST(CudaLaunchSizes, FollowTheMultiprocessorsOfADescription) {
  const unsigned blocks = PlannedBlocks(1 << 22, 33);
  EXPECT_GE(blocks, 33u);
  EXPECT_EQ(PlannedBlocks(1 << 22, 132), 4 * blocks);
  EXPECT_EQ(PlannedBlocks(1 << 22, 7) * 33, blocks * 7);
  // Little work takes what it needs wherever it is.
  EXPECT_EQ(PlannedBlocks(64, 132), PlannedBlocks(64, 33));
  EXPECT_EQ(GeneratedBlocks(132), 4 * GeneratedBlocks(33));
  EXPECT_EQ(GeneratedBlocks(132), 8u * 132);  // as many as are resident: they stride over the rest
}

}  // namespace
}  // namespace ostria
