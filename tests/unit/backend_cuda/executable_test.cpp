// SPDX-License-Identifier: Apache-2.0
// A training step through the driver: what it computes, and what a replay asks of the driver. The
// fake driver runs work late and in any order that streams and events allow.
#include <gtest/gtest.h>

#include <map>
#include <sstream>
#include <string>

#include "backend_cuda/evaluate.h"
#include "backend_cuda/fake.h"

#include "ir/builder.h"
#include "ops/ops.h"
#include "runtime/compiled_graph.h"
#include "runtime/live_device.h"
#include "runtime/plan_launches.h"

namespace ostria {

Backend* CudaBackend();

namespace {

constexpr DeviceId kGpu = {DeviceKind::kCuda, 0};

// What the runtime asks of the driver between two moments.
class Calls {
 public:
  int64_t operator()(const char* function) const {
    return fake::Count(function) - before_.at(function);
  }

 private:
  static std::map<std::string, int64_t> Now() {
    std::map<std::string, int64_t> counts;
    for (const char* f :
         {"cuMemAlloc", "cuMemHostAlloc", "cuMemCreate", "cuStreamSynchronize", "cuMemcpyHtoD",
          "cuMemcpyDtoH", "cuModuleLoadData", "cuLaunchKernel", "cuGraphInstantiate",
          "cuGraphLaunch", "cuEventCreate", "cuEventSynchronize", "cuCtxSynchronize"}) {
      counts[f] = fake::Count(f);
    }
    return counts;
  }
  std::map<std::string, int64_t> before_ = Now();
};

// w <- transposed w; results: transposed x (large), the old w (small).
Graph Transposes(const Variable& w) {
  Graph g;
  Builder b(g, 0);
  const std::vector<int64_t> swap = {1, 0};
  const Value x = g.AddInput("x", {DType::kFloat32, {71, 229}}, 0);
  const Value old = g.AddState(w.id(), "w", {w.dtype(), w.shape()}, 0);
  g.SetStateOut(0, b(ops::kTranspose, {old}, {swap}));
  g.AddOutput("x", b(ops::kTranspose, {x}, {swap}));
  g.AddOutput("w", old);
  return g;
}

Tensor Transposed(const Tensor& x) {
  return EvaluateOnCpu(ops::kTranspose, {std::vector<int64_t>{1, 0}}, {x})[0];
}

class CudaExecutable : public testing::Test {
 protected:
  void SetUp() override { RegisterBackend(CudaBackend()); }
};

TEST_F(CudaExecutable, AReplayIsOneLaunchOfAGraph) {
  const Tensor start = RandomTensor(DType::kFloat32, {5, 5}, -1, 1, 1);
  const auto w = Variable::Create("w", start, StateClass::kTrainable);
  CompiledGraph step(Transposes(*w), {w}, kGpu);
  std::vector<Tensor> out;
  for (uint64_t i = 0; i < 9; ++i) {
    fake::Seed(i);
    const Calls calls;
    const Tensor x = RandomTensor(DType::kFloat32, {71, 229}, -1, 1, i);
    step.Run({&x, 1}, &out);
    if (i == 0) {
      EXPECT_EQ(calls("cuLaunchKernel"), 2);
      EXPECT_EQ(CountLaunches(step.For({})->plan()).launches, 2);
      EXPECT_EQ(calls("cuGraphLaunch"), 0);
    }
    if (i >= 4) {
      for (const char* f :
           {"cuMemAlloc", "cuMemHostAlloc", "cuMemCreate", "cuStreamSynchronize", "cuMemcpyHtoD",
            "cuMemcpyDtoH", "cuModuleLoadData", "cuLaunchKernel", "cuGraphInstantiate",
            "cuEventCreate", "cuEventSynchronize", "cuCtxSynchronize"}) {
        EXPECT_EQ(calls(f), 0) << f << " in run " << i;
      }
      EXPECT_EQ(calls("cuGraphLaunch"), 1) << "run " << i;
    }
    ExpectClose(out[0].OnHost(), Transposed(x), 0);
    ExpectClose(out[1].OnHost(), i % 2 == 0 ? start : Transposed(start), 0);
  }
  EXPECT_EQ(w->device(), kGpu);
  ExpectClose(w->Snapshot(), Transposed(start), 0);
}

// On a device that no other test uses: what it has taken is what this step takes.
TEST_F(CudaExecutable, APlanKnowsWhatTheDeviceWillAllocate) {
  constexpr DeviceId kOther = {DeviceKind::kCuda, 1};
  const auto taken = [] { return static_cast<int64_t>(CudaBackend()->GetMemoryStats(1).in_use); };
  const int64_t before = taken();
  const auto w = Variable::Create("w", Tensor::Zeros(DType::kFloat32, {4096, 2048}),
                                  StateClass::kTrainable, kOther);
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {DType::kFloat32, {2048, 4096}}, 0);
  const Value old = g.AddState(w->id(), "w", {w->dtype(), w->shape()}, 0);
  const Value y = b(ops::kMatmul, {x, old}, {false, false});
  const Value half = b(ops::kMatmul, {y, y}, {true, false});
  g.SetStateOut(0, b(ops::kMatmul, {x, b(ops::kTanh, {half})}, {true, false}));
  g.AddOutput("y", b(ops::kExp, {half}));
  CompiledGraph step(std::move(g), {w}, kOther);
  const PlanStats& planned = step.For({})->plan().stats;
  const int64_t result = int64_t{2048} * 2048 * 4;  // one more while somebody holds it
  const auto allocated = static_cast<double>(taken() - before + result);
  EXPECT_GT(planned.activation_bytes, 0);
  EXPECT_NEAR(static_cast<double>(planned.peak_bytes()), allocated, 0.05 * allocated);
}

// Three runs in a row: the input of the second may arrive before the kernels of the first ran, that
// of the third, which lies where the first one's did, may not.
TEST_F(CudaExecutable, AnInputArrivesWhileTheStepBeforeItRuns) {
  const auto w = Variable::Create("w", RandomTensor(DType::kFloat32, {5, 5}, -1, 1, 1),
                                  StateClass::kTrainable);
  CompiledGraph step(Transposes(*w), {w}, kGpu);
  std::vector<Tensor> out;
  int early = 0;  // (the variable is small and transposed by another kernel)
  for (uint64_t seed = 0; seed < 40; ++seed) {
    LiveDevice::Of(kGpu)->Synchronize();
    fake::Seed(seed);
    fake::Log();
    for (uint64_t i = 0; i < 3; ++i) {
      const Tensor x = RandomTensor(DType::kFloat32, {71, 229}, -1, 1, i);
      step.Run({&x, 1}, &out);
    }
    LiveDevice::Of(kGpu)->Synchronize();
    if (seed < 2) continue;  // not recorded yet
    std::istringstream log(fake::Log());
    int copies = 0, kernels = 0;
    for (std::string what; log >> what;) {
      if (what.starts_with("transpose")) ++kernels;
      if (what != "cuMemcpyHtoDAsync") continue;
      ++copies;
      if (copies == 2 && kernels == 0) ++early;
      EXPECT_TRUE(copies < 3 || kernels > 0) << "seed " << seed;
    }
    EXPECT_EQ(copies, 3);
    EXPECT_EQ(kernels, 3);
  }
  EXPECT_GT(early, 0);
}

TEST_F(CudaExecutable, StateThatGrowsIsZeroBetweenVariables) {
  const auto a =
      Variable::Create("a", RandomTensor(DType::kFloat32, {3}, 1, 2, 1), StateClass::kOther, kGpu);
  const auto b = Variable::Create("b", RandomTensor(DType::kFloat32, {1 << 20}, 1, 2, 2),
                                  StateClass::kOther, kGpu);
  ASSERT_EQ(a->chunk_id(), b->chunk_id());
  Tensor all = Tensor::Empty(DType::kFloat32, {256 / 4});
  LiveDevice::Of(kGpu)->CopyToHost(all.raw(), a->data(), all.bytes(), nullptr);
  for (int i = 3; i < 64; ++i) EXPECT_EQ(all.data<float>()[i], 0);
  ExpectClose(b->Snapshot(), RandomTensor(DType::kFloat32, {1 << 20}, 1, 2, 2), 0);
  a->MoveTo({});
  b->MoveTo({});
  ExpectClose(b->Snapshot(), RandomTensor(DType::kFloat32, {1 << 20}, 1, 2, 2), 0);
}

// Whichever run of a step it ends, whether that is captured or not.
TEST_F(CudaExecutable, AFailureIsToldAsItWasAndEndsNoOtherStep) {
  const Tensor start = RandomTensor(DType::kFloat32, {5, 5}, -1, 1, 1);
  const Tensor x = RandomTensor(DType::kFloat32, {71, 229}, -1, 1, 2);
  for (int run = 0; run < 3; ++run) {
    const auto w = Variable::Create("w", start, StateClass::kTrainable);
    CompiledGraph step(Transposes(*w), {w}, kGpu), other(Transposes(*w), {w}, kGpu);
    std::vector<Tensor> out;
    for (int i = 0; i < run; ++i) step.Run({&x, 1}, &out);
    fake::Fail(run < 2 ? "cuLaunchKernel:2:701" : "cuGraphLaunch:1:701");
    try {
      step.Run({&x, 1}, &out);
      ADD_FAILURE() << "run " << run;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"), std::string::npos)
          << e.what();
    }
    fake::Fail("");
    for (CompiledGraph* graph : {&other, &step, &step, &step}) {
      graph->Run({&x, 1}, &out);
      ExpectClose(out[0].OnHost(), Transposed(x), 0);
    }
  }
}

}  // namespace
}  // namespace ostria
