// SPDX-License-Identifier: Apache-2.0
// Several threads at once: eager calls, executables, compiled graphs and prepared kernels. The
// thread sanitizer watches these; the values hold without it too.
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <latch>
#include <thread>

#include "backend/backend.h"
#include "base/parallel.h"
#include "ir/builder.h"
#include "ops/ops.h"
#include "runtime/compiled_graph.h"
#include "runtime/eager.h"

namespace ostria {
namespace {

constexpr int kThreads = 4;

/// Runs fn(0) … fn(n - 1), each on a thread of its own, all from the same moment on.
template <class Fn>
void InThreads(int n, const Fn& fn) {
  std::latch start(n);
  std::vector<std::jthread> threads;
  threads.reserve(n);
  for (int t = 0; t < n; ++t) {
    threads.emplace_back([&, t] {
      start.arrive_and_wait();
      fn(t);
    });
  }
}

Tensor Filled(const Shape& shape, float value) {
  Tensor t = Tensor::Empty(DType::kFloat32, shape);
  std::fill_n(t.data<float>(), t.numel(), value);
  return t;
}

bool AllAre(const Tensor& t, float value) {
  return std::all_of(t.data<float>(), t.data<float>() + t.numel(),
                     [=](float x) { return x == value; });
}

PlanOptions OnCpu() {
  PlanOptions options;
  options.device = FindBackend(DeviceKind::kCpu).Props(0);
  return options;
}

/// w <- w + x; the old w is the result.
Graph Accumulator(int64_t variable) {
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {DType::kFloat32, {100}}, 0);
  const Value w = g.AddState(variable, "w", {DType::kFloat32, {100}}, 0);
  g.SetStateOut(0, b(ops::kAdd, {w, x}));
  g.AddOutput("old", w);
  return g;
}

int RightEagerCalls(int thread) {
  int right = 0;
  std::vector<Tensor> out;
  for (int64_t i = 0; i < 50; ++i) {
    const int64_t rows = 1 + (i + thread) % 5, inner = 33;
    const Tensor operands[] = {Filled({rows, inner}, 2), Filled({inner, 17}, 3)};
    RunEager(ops::kMatmul, operands, {{false, false}}, &out);
    const Tensor product = out[0];
    const Tensor terms[] = {product, product};
    RunEager(ops::kAdd, terms, {}, &out);
    right += product.shape() == (Shape{rows, 17}) && AllAre(out[0], 2 * 2 * 3 * 33);
  }
  return right;
}

TEST(Threads, EagerCalls) {
  std::atomic<int> right{0};
  InThreads(kThreads, [&](int t) { right += RightEagerCalls(t); });
  EXPECT_EQ(right, kThreads * 50);
}

// In a process of its own, in which nothing has found a backend or made a table yet.
TEST(ThreadsDeathTest, TheFirstCallsOfAProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto first_calls = [] {
    std::atomic<int> right{0};
    InThreads(kThreads, [&](int t) { right += RightEagerCalls(t); });
    return right == kThreads * 50;
  };
  EXPECT_EXIT(std::exit(first_calls() ? 7 : 1), testing::ExitedWithCode(7), "");
}

TEST(Threads, TwoExecutablesOfOnePlanKeepTheirStates) {
  const auto make = [](float value) {
    return Variable::Create("w", Filled({100}, value), StateClass::kTrainable);
  };
  const std::shared_ptr<Variable> w[] = {make(0), make(1000)};
  const auto plan = MakePlan(Accumulator(w[0]->id()), OnCpu());
  std::atomic<int> right{0};
  InThreads(2, [&](int t) {
    Executable executable(plan, {w[t]});
    const Tensor x = Filled({100}, static_cast<float>(t + 1));
    std::vector<Tensor> out;
    for (int step = 0; step < 200; ++step) {
      executable.Run({&x, 1}, &out);
      right += AllAre(out[0], static_cast<float>(1000 * t + step * (t + 1)));
    }
  });
  EXPECT_EQ(right, 400);
  EXPECT_TRUE(AllAre(w[0]->Snapshot(), 200));
  EXPECT_TRUE(AllAre(w[1]->Snapshot(), 1400));
}

TEST(Threads, StepsOfOneVariableAreNeverTorn) {
  const auto w = Variable::Create("w", Filled({100}, 0), StateClass::kTrainable);
  CompiledGraph compiled(Accumulator(w->id()), {w});
  const Tensor x = Filled({100}, 1);
  std::atomic<int> whole{0};
  InThreads(kThreads, [&](int) {
    std::vector<Tensor> out;
    for (int step = 0; step < 100; ++step) {
      compiled.Run({&x, 1}, &out);
      whole += AllAre(out[0], out[0].data<float>()[0]);
    }
  });
  EXPECT_EQ(whole, kThreads * 100);
  EXPECT_TRUE(AllAre(w->Snapshot(), kThreads * 100));
}

// More batch sizes than plans are kept: a plan that is dropped may be running elsewhere.
TEST(Threads, OneCompiledGraphServesEveryBatchSize) {
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {DType::kFloat32, {Dim::Symbol("batch"), 3}}, 0);
  g.AddOutput("y", b(ops::kSum, {b(ops::kExp, {x})}, {std::vector<int64_t>{1}, false}));
  CompiledGraph compiled(std::move(g), {});
  std::atomic<int> right{0};
  InThreads(kThreads, [&](int t) {
    std::vector<Tensor> out;
    for (int64_t i = 0; i < 60; ++i) {
      const int64_t batch = (i + 7 * t) % 20;
      const Tensor zeros = Filled({batch, 3}, 0);
      compiled.Run({&zeros, 1}, &out);
      right += out[0].shape() == Shape{batch} && AllAre(out[0], 3);
      if (i % 10 == 0) right += compiled.specialisations().size() <= 16 && compiled.Latest();
    }
  });
  EXPECT_EQ(right, kThreads * 66);
  EXPECT_GE(compiled.num_specialised(), 20);
}

// As many as never before: more than the memory objects that a oneDNN primitive keeps idle.
TEST(Threads, APreparedKernelIsShared) {
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {DType::kFloat32, {8, 256}}, 0);
  const Value w = g.AddInput("w", {DType::kFloat32, {256, 64}}, 0);
  g.AddOutput("y", b(ops::kMatmul, {x, w}, {false, false}));
  const auto plan = MakePlan(g, OnCpu());
  ASSERT_EQ(plan->steps.size(), 1u);
  const Step& step = plan->steps[0];
  ASSERT_EQ(step.kernel->impl, "onednn") << Print(*plan);
  std::atomic<int> right{0};
  InThreads(8, [&](int t) {
    const auto value = static_cast<float>(t + 1);
    const Tensor a = Filled({8, 256}, value), c = Filled({256, 64}, 1);
    size_t bytes = static_cast<size_t>(step.state->workspace_bytes), space = bytes + kAlignment;
    const Tensor workspace = Tensor::Empty(DType::kUInt8, {static_cast<int64_t>(space)});
    void* aligned = workspace.raw();
    std::align(kAlignment, bytes, aligned, space);
    for (int i = 0; i < 100; ++i) {
      const Tensor y = Filled({8, 64}, -1);
      void* const ptrs[] = {a.raw(), c.raw(), y.raw(), aligned};
      step.kernel->launch(*step.state, ptrs);
      right += AllAre(y, 256 * value);
    }
  });
  EXPECT_EQ(right, 800);
}

std::future<void> other;  // outlives the resolver, which must return even if it waited in vain
std::atomic<bool> other_ran{false};

// A resolver that waits, as Python's does for the interpreter's lock, for a thread that computes.
SourceLine ResolveWhileAnotherComputes(const Frame&) {
  other = std::async(std::launch::async, [] {
    std::vector<Tensor> out;
    const Tensor terms[] = {Filled({2}, 1), Filled({2}, 1)};
    RunEager(ops::kAdd, terms, {}, &out);
  });
  other_ran = other.wait_for(std::chrono::seconds(5)) == std::future_status::ready;
  return {"train.py", 42, "step"};
}

TEST(Threads, OthersComputeWhileAnErrorFindsItsLine) {
  const Frame frame{&other_ran, 1};
  Graph g;
  Builder b(g, InternFrames({&frame, 1}));
  const Value x = g.AddInput("x", {DType::kFloat32, {4}}, 0);
  const Value at = g.AddInput("at", {DType::kInt64, {1}}, 0);
  g.AddOutput("y", b(ops::kLog, {b(ops::kGather, {x, at}, {int64_t{0}})}));
  CompiledGraph compiled(std::move(g), {});
  SetFrameResolver(ResolveWhileAnotherComputes);
  const Tensor vector = Filled({4}, -1), index = Tensor::Zeros(DType::kInt64, {1});
  const auto fails = [&](int64_t i, bool debug) {
    *index.data<int64_t>() = i;
    const Tensor inputs[] = {vector, index};
    std::vector<Tensor> out;
    other_ran = false;
    try {
      compiled.Run(inputs, &out, debug);
      ADD_FAILURE() << "accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.location(), "train.py:42");
      EXPECT_TRUE(other_ran) << e.what();
      other.wait();
    }
  };
  fails(9, false);  // a bad index
  fails(9, true);
  fails(0, true);  // the logarithm of -1
  SetFrameResolver(nullptr);
}

}  // namespace
}  // namespace ostria
