// SPDX-License-Identifier: Apache-2.0
// Replicas on several GPUs: captured steps with collectives in them, over fake-nccl, beside the
// same steps on virtual CPUs.
#include <gtest/gtest.h>

#include <cstring>

#include "backend_cuda/evaluate.h"
#include "backend_cuda/replicas.h"
#include "ir/builder.h"
#include "ops/ops.h"
#include "runtime/eager.h"

namespace ostria {
namespace {

using VariablePtr = std::shared_ptr<Variable>;
using std::chrono::milliseconds;

constexpr int kSteps = 7;

std::vector<VariablePtr> MadeVariables() {
  std::vector<VariablePtr> all;
  for (int i = 0; i < 3; ++i) {
    all.push_back(Variable::Create(
        StrCat("w", i), RandomTensor(DType::kFloat32, {7, 13 + i}, -1, 1, static_cast<uint64_t>(i)),
        StateClass::kTrainable));
  }
  return all;
}

/// w <- w + the sum over replicas of x * w, for each w; the result is the square of the last w as
/// it was, summed over replicas. Elementwise: a device that adds in another order has the same
/// bits.
Graph Step(const std::vector<VariablePtr>& variables) {
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {DType::kFloat32, {7, 1}}, 0);
  std::vector<Value> state, gradients;
  for (const VariablePtr& v : variables) {
    state.push_back(g.AddState(v->id(), v->name(), {v->dtype(), v->shape()}, 0));
    gradients.push_back(b(ops::kMultiply, {x, state.back()}));
  }
  const std::vector<Attr> attrs = {std::string("sum"), std::vector<int64_t>{}};
  const std::vector<Value> sums = b.Multi(ops::kAllReduce, gradients, attrs);
  // Runs beside the reduction.
  const Value square = b(ops::kMultiply, {state.back(), state.back()});
  for (size_t i = 0; i < state.size(); ++i) {
    g.SetStateOut(static_cast<int>(i), b(ops::kAdd, {state[i], sums[i]}));
  }
  g.AddOutput("square", b.Multi(ops::kAllReduce, std::vector<Value>{square}, attrs)[0]);
  return g;
}

std::vector<std::vector<Tensor>> InputsOf(int n, int step) {
  std::vector<std::vector<Tensor>> inputs;
  for (int r = 0; r < n; ++r) {
    inputs.push_back(
        {RandomTensor(DType::kFloat32, {7, 1}, -0.1, 0.1, static_cast<uint64_t>(100 * step + r))});
  }
  return inputs;
}

void ExpectSameBits(const Tensor& a, const Tensor& b, const std::string& what) {
  ASSERT_EQ(a.bytes(), b.bytes());
  EXPECT_EQ(std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.bytes())), 0) << what;
}

class CudaReplicas : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (!OnFakeDriver()) GTEST_SKIP() << "several GPUs are of the fake driver";
    Devices(16);
    Inject("");
  }
};
INSTANTIATE_TEST_SUITE_P(All, CudaReplicas, testing::Values(1, 2, 4));

TEST_P(CudaReplicas, TrainAsVirtualCpusDoBitForBit) {
  const int n = GetParam();
  const std::vector<VariablePtr> on_gpu = MadeVariables(), on_cpu = MadeVariables();
  CompiledGraph gpu(Step(on_gpu), on_gpu, Replicas(DeviceKind::kCuda, 0, n));
  CompiledGraph cpu(Step(on_cpu), on_cpu, Replicas(DeviceKind::kCpu, 0, n));
  for (int step = 0; step < kSteps; ++step) {
    fake::Seed(static_cast<uint64_t>(step));
    const auto inputs = InputsOf(n, step);
    std::vector<std::vector<Tensor>> out, want;
    const int64_t calls = fake::Count("ncclAllReduce"), done = Completed();
    gpu.RunReplicas(inputs, &out);
    cpu.RunReplicas(inputs, &want);
    for (int r = 0; r < n; ++r) {
      const auto i = static_cast<size_t>(r);
      ExpectSameBits(out[i][0].OnHost(), want[i][0].OnHost(), StrCat("rank ", r));
      for (size_t v = 0; v < on_gpu.size(); ++v) {
        ExpectSameBits(on_gpu[v]->SnapshotCopy(r), on_cpu[v]->SnapshotCopy(0),
                       StrCat("w", v, " of rank ", r, " after step ", step));
      }
    }
    EXPECT_GE(Completed() - done, 2);
    // The first run, and one for each of two recordings; then they are part of a graph.
    if (step > 2) {
      EXPECT_EQ(fake::Count("ncclAllReduce") - calls, 0) << step;
    }
  }
  EXPECT_EQ(fake::LastFault(), "");
}

TEST_P(CudaReplicas, ReduceNeighboursInOneCallBesideOtherWork) {
  const int n = GetParam();
  const std::vector<VariablePtr> variables = MadeVariables();
  CompiledGraph gpu(Step(variables), variables, Replicas(DeviceKind::kCuda, 0, n));
  std::vector<std::vector<Tensor>> out;
  const int64_t calls = fake::Count("ncclAllReduce");
  gpu.RunReplicas(InputsOf(n, 0), &out);
  // Three gradients lie behind each other, and the loss.
  EXPECT_EQ(fake::Count("ncclAllReduce") - calls, 2 * n);
  const Graph& planned = gpu.Latest()->plan().graph;
  int starts = 0;
  for (NodeId node = planned.first(); node.valid(); node = planned.next(node)) {
    starts += planned.is(node, ops::kAllReduceStart);
  }
  EXPECT_GE(starts, 1);
}

TEST_P(CudaReplicas, GoInPeace) {
  const int n = GetParam();
  const int64_t lived = Live(), aborts = fake::Count("ncclCommAbort");
  {
    const std::vector<VariablePtr> variables = MadeVariables();
    CompiledGraph gpu(Step(variables), variables, Replicas(DeviceKind::kCuda, 0, n));
    std::vector<std::vector<Tensor>> out;
    for (int step = 0; step < 4; ++step) gpu.RunReplicas(InputsOf(n, step), &out);
    EXPECT_EQ(Live() - lived, n);
  }
  EXPECT_EQ(Live(), lived);
  EXPECT_EQ(fake::Count("ncclCommAbort"), aborts);
  EXPECT_EQ(fake::LastFault(), "");
}

TEST_P(CudaReplicas, ReduceScatterGatherAndBroadcastAsVirtualCpusDo) {
  const int n = GetParam();
  const auto run = [&](DeviceKind kind) {
    Graph g;
    Builder b(g, 0);
    const Value x = g.AddInput("x", {DType::kFloat32, {8, 71}}, 0);
    for (const char* reduction : {"sum", "min", "max"}) {
      g.AddOutput(reduction, b(ops::kReduceScatter, {x}, {std::string(reduction), int64_t{n}}));
    }
    g.AddOutput("gathered", b(ops::kAllGather, {x}, {int64_t{n}}));
    g.AddOutput("first", b(ops::kBroadcast, {x}, {int64_t{n - 1}}));
    g.AddOutput("part", b(ops::kReplicaPart, {x}, {int64_t{n}}));
    CompiledGraph compiled(std::move(g), {}, Replicas(kind, 0, n));
    std::vector<std::vector<Tensor>> inputs, out;
    for (int r = 0; r < n; ++r) {
      inputs.push_back({RandomTensor(DType::kFloat32, {8, 71}, -1, 1, static_cast<uint64_t>(r))});
    }
    for (int step = 0; step < 3; ++step) compiled.RunReplicas(inputs, &out);
    for (auto& of_rank : out) {
      for (Tensor& t : of_rank) t = t.OnHost();
    }
    return out;
  };
  const auto got = run(DeviceKind::kCuda), want = run(DeviceKind::kCpu);
  for (size_t r = 0; r < want.size(); ++r) {
    for (size_t i = 0; i < want[r].size(); ++i) {
      ExpectSameBits(got[r][i], want[r][i], StrCat("output ", i, " of rank ", r));
    }
  }
}

}  // namespace
}  // namespace ostria
