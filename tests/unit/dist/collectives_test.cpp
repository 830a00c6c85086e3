// SPDX-License-Identifier: Apache-2.0
// Collectives in plans: what replicas get, in how many calls, and that nothing is copied for it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "autodiff/gradient.h"
#include "base/error.h"
#include "dist/local.h"
#include "dist/overlapped.h"
#include "dist/step.h"
#include "dist/transports.h"
#include "ir/builder.h"
#include "ops/ops.h"
#include "runtime/arena.h"
#include "runtime/eager.h"

namespace ostria {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> Names(int size) {
  std::vector<std::string> names;
  for (int r = 0; r < size; ++r) names.push_back(StrCat("cpu:", r));
  return names;
}

// Groups of which every rank remembers its calls.
struct WitnessedGroup {
  std::vector<std::unique_ptr<Communicator>> ranks;
  std::vector<Witness*> witnesses;
  explicit WitnessedGroup(int size, bool overlapped = false) {
    for (auto& inner : MakeLocalGroup(Names(size))) {
      auto witness = std::make_unique<Witness>(std::move(inner));
      witnesses.push_back(witness.get());
      if (overlapped)
        ranks.push_back(MakeOverlapped(std::move(witness)));
      else
        ranks.push_back(std::move(witness));
    }
  }
};

// One op on every rank, eagerly.
std::vector<std::vector<Tensor>> OnRanks(int size, const OpDef& op, const std::vector<Attr>& attrs,
                                         const std::function<std::vector<Tensor>(int)>& inputs) {
  std::vector<std::vector<Tensor>> outputs(static_cast<size_t>(size));
  const auto errors = RunRanks(MakeLocalGroup(Names(size)), [&](Communicator& c) {
    const Communicator::Scope scope(&c);
    const DeviceId device{DeviceKind::kCpu, static_cast<int16_t>(c.rank())};
    RunEagerOn(device, op, inputs(c.rank()), attrs, &outputs[static_cast<size_t>(c.rank())]);
  });
  EXPECT_THAT(errors, Each(""));
  return outputs;
}

std::vector<Tensor> Two(int rank) {
  const auto r = static_cast<float>(rank);
  return {Floats({r, 1}, {2}), Floats({10 * r, -r, 3}, {3})};
}

TEST(Collectives, EveryRankGetsTheReductionOfEveryTensor) {
  const std::vector<int64_t> each;
  for (const auto& out : OnRanks(3, ops::kAllReduce, {std::string("sum"), each}, Two)) {
    EXPECT_THAT(ToVector(out[0]), ElementsAre(3, 3));
    EXPECT_THAT(ToVector(out[1]), ElementsAre(30, -3, 9));
  }
  for (const auto& out : OnRanks(3, ops::kAllReduce, {std::string("min"), each}, Two)) {
    EXPECT_THAT(ToVector(out[1]), ElementsAre(0, -2, 3));
  }
  for (const auto& out : OnRanks(3, ops::kAllReduce, {std::string("max"), each}, Two)) {
    EXPECT_THAT(ToVector(out[1]), ElementsAre(20, 0, 3));
  }
}

TEST(Collectives, GatherScatterAndBroadcastByRank) {
  const auto one = [](int rank) {
    return std::vector<Tensor>{Floats({static_cast<float>(rank), 7}, {1, 2})};
  };
  for (const auto& out : OnRanks(2, ops::kAllGather, {int64_t{2}}, one)) {
    EXPECT_EQ(out[0].shape(), (Shape{2, 2}));
    EXPECT_THAT(ToVector(out[0]), ElementsAre(0, 7, 1, 7));
  }
  for (const auto& out : OnRanks(2, ops::kBroadcast, {int64_t{1}}, one)) {
    EXPECT_THAT(ToVector(out[0]), ElementsAre(1, 7));
  }
  const auto four = [](int rank) {
    const auto r = static_cast<float>(rank);
    return std::vector<Tensor>{Floats({r, 1, 2, 3 * r}, {4})};
  };
  const auto parts = OnRanks(2, ops::kReduceScatter, {std::string("sum"), int64_t{2}}, four);
  EXPECT_THAT(ToVector(parts[0][0]), ElementsAre(1, 2));
  EXPECT_THAT(ToVector(parts[1][0]), ElementsAre(4, 3));
  const auto alike = [](int) { return std::vector<Tensor>{Floats({5, 6, 7, 8}, {4})}; };
  const auto own = OnRanks(2, ops::kReplicaPart, {int64_t{2}}, alike);
  EXPECT_THAT(ToVector(own[0][0]), ElementsAre(5, 6));
  EXPECT_THAT(ToVector(own[1][0]), ElementsAre(7, 8));
}

TEST(Collectives, AnotherNumberOfReplicasThanTracedIsAnError) {
  std::vector<Tensor> out;
  const auto errors = RunRanks(MakeLocalGroup(Names(2)), [&](Communicator& c) {
    const Communicator::Scope scope(&c);
    std::vector<Tensor> mine;
    RunEagerOn({DeviceKind::kCpu, static_cast<int16_t>(c.rank())}, ops::kAllGather,
               std::vector{Floats({1}, {1})}, std::vector<Attr>{int64_t{3}}, &mine);
  });
  EXPECT_THAT(errors, Each(HasSubstr("all_gather: it was traced for 3 replica(s), but 2 are in its "
                                     "group")));
}

// Every rank gathers, weighs by position and sums: the gradient of x is that of the sum over ranks.
TEST(Collectives, GradientsAreThoseOfTheSumOverReplicas) {
  const auto build = [](Graph& g, std::span<const Value> state) {
    Builder b(g, 0);
    const Value all = b(ops::kAllGather, {state[0]}, {int64_t{2}});
    const Value reduced = b(ops::kAllReduce, {state[0]});
    const Value weights = g.AddInput("weights", {DType::kFloat32, {4}}, 0),
                rank = g.AddInput("r", {DType::kFloat32, {}}, 0);
    const Value gathered = b(ops::kSum, {b(ops::kMultiply, {all, weights})});
    const Value square = b(ops::kSum, {b(ops::kSquare, {reduced})});
    const Value loss = b(ops::kMultiply, {b(ops::kAdd, {gathered, square}), rank});
    g.AddOutput("g", Gradients(g, {&loss, 1}, {}, {state.data(), 1})[0]);
  };
  auto replicas = MakeReplicas(2, {Floats({1, 2}, {2})}, build);
  WitnessedGroup group(2);
  const auto errors = RunStep(replicas, group.ranks, [](int rank) {
    return std::vector<Tensor>{Floats({1, 2, 3, 4}, {4}), Floats({rank + 1.0F}, {})};
  });
  ASSERT_THAT(errors, Each(""));
  // Both have w = (1, 2), so the sum is (2, 4) and d square = 2 (2, 4); losses count 1 and 2 times.
  EXPECT_THAT(ToVector(replicas[0].outputs[0]), ElementsAre(3 * (1 + 4), 3 * (2 + 8)));
  EXPECT_THAT(ToVector(replicas[1].outputs[0]), ElementsAre(3 * (3 + 4), 3 * (4 + 8)));
}

// --- Training steps
// -------------------------------------------------------------------------------

struct Training {
  bool clips = false;
};

// loss = sum of (x w0) . w1-ish terms over rows; weights of odd sizes, so that chunks have padding.
BuildFn OneStep(const Training& t) {
  return [t](Graph& g, std::span<const Value> state) {
    Builder b(g, 0);
    const Value x = g.AddInput("x", {DType::kFloat32, {Dim::Symbol("batch"), 3}}, 0);
    const std::vector<int64_t> rows = {0};
    const Value sums = b(ops::kSum, {x}, {rows, false});
    Value loss = b(ops::kSum, {b(ops::kMultiply, {sums, b(ops::kTanh, {state[0]})})});
    const Value y = b(ops::kMatmul, {x, state[1]});
    loss = b(ops::kAdd, {loss, b(ops::kSum, {b(ops::kTanh, {y})})});
    loss = b(ops::kAdd, {loss, b(ops::kSum, {b(ops::kMultiply, {y, state[2]})})});
    std::vector<Value> grads = Gradients(g, {&loss, 1}, {}, {state.data(), state.size()});
    grads = b.Multi(ops::kAllReduce, grads);
    const Value finite = b(ops::kAllFinite, {grads.data(), grads.size()});
    if (t.clips) {
      for (Value& v : grads) v = b(ops::kClip, {v}, {-1.0, 1.0});
    }
    const Value rate = b(ops::kFull, {}, {Shape{}, DType::kFloat32, 0.1});
    const Value scale = b(ops::kFull, {}, {Shape{}, DType::kFloat32, 1.0});
    std::vector<Value> operands(state.begin(), state.end());
    operands.insert(operands.end(), grads.begin(), grads.end());
    operands.insert(operands.end(), {rate, scale, finite});
    const std::vector<Value> after = b.Multi(ops::kSgdUpdate, operands);
    for (size_t i = 0; i < state.size(); ++i) g.SetStateOut(static_cast<int>(i), after[i]);
  };
}

std::vector<Tensor> Weights() {
  std::vector<Tensor> w = {Floats({0.1F, 0.2F, -0.3F}, {3}),
                           Tensor::Zeros(DType::kFloat32, {3, 70}),
                           Tensor::Zeros(DType::kFloat32, {70})};
  for (int i = 0; i < 210; ++i) w[1].data<float>()[i] = 0.01F * static_cast<float>(i % 13) - 0.05F;
  for (int i = 0; i < 70; ++i) w[2].data<float>()[i] = 0.02F * static_cast<float>(i % 7) - 0.04F;
  return w;
}

Tensor Rows(int begin, int end) {
  Tensor x = Tensor::Zeros(DType::kFloat32, {end - begin, 3});
  for (int i = 0; i < 3 * (end - begin); ++i) {
    x.data<float>()[i] = 0.1F * static_cast<float>((begin * 3 + i) % 11) - 0.4F;
  }
  return x;
}

std::function<Binding(int)> Batches(std::vector<int> sizes) {
  return [sizes](int r) { return Binding{{"batch", sizes[static_cast<size_t>(r)]}}; };
}

// The rows of all replicas follow each other.
std::function<std::vector<Tensor>(int)> RowsOf(std::vector<int> sizes) {
  return [sizes](int r) {
    int begin = 0;
    for (int i = 0; i < r; ++i) begin += sizes[static_cast<size_t>(i)];
    return std::vector<Tensor>{Rows(begin, begin + sizes[static_cast<size_t>(r)])};
  };
}

std::vector<std::vector<float>> Trained(const StepReplica& r) {
  std::vector<std::vector<float>> out;
  for (const auto& v : r.variables) out.push_back(ToVector(v->Snapshot()));
  return out;
}

const Step* FindStep(const Plan& plan, const OpDef& op) {
  for (const Step& s : plan.steps) {
    if (plan.graph.is(s.node, op)) return &s;
  }
  return nullptr;
}

void ExpectNear(const std::vector<std::vector<float>>& a,
                const std::vector<std::vector<float>>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t k = 0; k < a[i].size(); ++k) EXPECT_NEAR(a[i][k], b[i][k], 2e-6) << i << ", " << k;
  }
}

TEST(ReducedGradients, AreOneCallOfTheBlockThatMirrorsTheWeightsAndNothingIsCopied) {
  auto replicas = MakeReplicas(2, Weights(), OneStep({}), Batches({4, 4}));
  const Plan& plan = *replicas[0].plan;
  const Step* reduce = FindStep(plan, ops::kAllReduce);
  ASSERT_NE(reduce, nullptr) << Print(plan);
  for (int i = 0; i < 3; ++i) {
    const Operand &in = plan.operands[static_cast<size_t>(reduce->first_operand + i)],
                  &out = plan.operands[static_cast<size_t>(reduce->first_operand + 3 + i)];
    EXPECT_EQ(in, out) << "gradient " << i << " is copied\n" << Print(plan);
    EXPECT_EQ(out.offset - plan.operands[static_cast<size_t>(reduce->first_operand)].offset,
              replicas[0].variables[static_cast<size_t>(i)]->offset() -
                  replicas[0].variables[0]->offset());
  }
  EXPECT_TRUE(plan.copies.empty()) << Print(plan);

  for (int16_t r = 0; r < 2; ++r) {  // what earlier steps left between the gradients
    std::memset(ActivationArena::Of({DeviceKind::kCpu, r})->base(), 0xff,
                static_cast<size_t>(plan.stats.activation_bytes));
  }
  WitnessedGroup group(2);
  ASSERT_THAT(RunStep(replicas, group.ranks, RowsOf({4, 4})), Each(""));
  for (const Witness* r : group.witnesses) {
    ASSERT_EQ(r->calls.size(), 1u);
    EXPECT_EQ(r->calls[0].what, "all_reduce of 3 tensors");
    EXPECT_EQ(r->calls[0].count, 64 + 256 + 70);  // 256 bytes, 1024 bytes, then 70 floats
    const auto* block = static_cast<const float*>(r->calls[0].data);
    for (int i = 3; i < 64; ++i) EXPECT_EQ(block[i], 0) << "padding at " << i;
    for (int i = 64 + 210; i < 64 + 256; ++i) EXPECT_EQ(block[i], 0) << "padding at " << i;
  }
}

TEST(ReducedGradients, TrainAsOneReplicaDoesWithTheWholeBatch) {
  for (const std::vector<int>& sizes :
       {std::vector{4, 4}, std::vector{5, 2}, std::vector{3, 0}, std::vector{1, 2, 4}}) {
    for (const bool clips : {false, true}) {
      int all = 0;
      for (const int n : sizes) all += n;
      auto one = MakeReplicas(1, Weights(), OneStep({.clips = clips}), Batches({all}));
      const auto ranks = static_cast<int>(sizes.size());
      auto many = MakeReplicas(ranks, Weights(), OneStep({.clips = clips}), Batches(sizes));
      WitnessedGroup alone(1), group(ranks);
      for (int step = 0; step < 3; ++step) {
        ASSERT_THAT(RunStep(one, alone.ranks, RowsOf({all})), Each(""));
        ASSERT_THAT(RunStep(many, group.ranks, RowsOf(sizes)), Each(""));
      }
      ExpectNear(Trained(many[0]), Trained(one[0]));
      for (const StepReplica& r : many) EXPECT_EQ(Trained(r), Trained(many[0])) << "ranks differ";
      // Also where nothing mirrors the weights, and whatever the batch of a rank is.
      for (const Witness* r : group.witnesses) EXPECT_EQ(r->calls.size(), 3u) << clips;
    }
  }
}

TEST(ReducedGradients, AGradientOfTwoWeightsIsReducedOnceForEach) {
  auto weights = Weights();
  weights[2] = Tensor::Zeros(DType::kFloat32, {210});
  const auto build = [](Graph& g, std::span<const Value> state) {
    Builder b(g, 0);
    const Value x = g.AddInput("x", {DType::kFloat32, {3, 70}}, 0);
    const Value y = b(ops::kTanh, {x});
    const Value flat = b(ops::kReshape, {y}, {Shape{210}});
    std::vector<Value> grads = b.Multi(ops::kAllReduce, {y, flat});
    const Value one = b(ops::kFull, {}, {Shape{}, DType::kFloat32, 1.0});
    const Value yes = b(ops::kFull, {}, {Shape{}, DType::kBool, 1.0});
    const auto after =
        b.Multi(ops::kSgdUpdate, {state[1], state[2], grads[0], grads[1], one, one, yes});
    g.SetStateOut(1, after[0]);
    g.SetStateOut(2, after[1]);
  };
  auto replicas = MakeReplicas(2, weights, build);
  WitnessedGroup group(2);
  Tensor x = Tensor::Zeros(DType::kFloat32, {3, 70});
  for (int i = 0; i < 210; ++i) x.data<float>()[i] = 0.5F;
  ASSERT_THAT(RunStep(replicas, group.ranks, [&](int) { return std::vector<Tensor>{x}; }),
              Each(""));
  const float expected = -2 * std::tanh(0.5F);
  const std::vector<float> second = Trained(replicas[0])[2];
  for (size_t i = 0; i < second.size(); ++i) EXPECT_NEAR(second[i], expected, 1e-6) << i;
  EXPECT_NEAR(Trained(replicas[0])[1][0], weights[1].data<float>()[0] + expected, 1e-6);
}

// --- Buckets and overlap
// --------------------------------------------------------------------------

// Three weights of 1.2 MB: three buckets, whose gradients come one after the other, last first.
BuildFn Chain() {
  return [](Graph& g, std::span<const Value> state) {
    Builder b(g, 0);
    Value y = g.AddInput("x", {DType::kFloat32, {Dim::Symbol("batch"), 550}}, 0);
    for (const Value w : state) y = b(ops::kTanh, {b(ops::kMatmul, {y, w})});
    const Value loss = b(ops::kSum, {y});
    std::vector<Value> grads = Gradients(g, {&loss, 1}, {}, {state.data(), state.size()});
    grads = b.Multi(ops::kAllReduce, grads);
    const Value finite = b(ops::kAllFinite, {grads.data(), grads.size()});
    const Value rate = b(ops::kFull, {}, {Shape{}, DType::kFloat32, 0.01});
    const Value scale = b(ops::kFull, {}, {Shape{}, DType::kFloat32, 1.0});
    std::vector<Value> operands(state.begin(), state.end());
    operands.insert(operands.end(), grads.begin(), grads.end());
    operands.insert(operands.end(), {rate, scale, finite});
    const std::vector<Value> after = b.Multi(ops::kSgdUpdate, operands);
    for (size_t i = 0; i < state.size(); ++i) g.SetStateOut(static_cast<int>(i), after[i]);
  };
}

std::vector<Tensor> Square(float scale) {
  Tensor w = Tensor::Zeros(DType::kFloat32, {550, 550});
  for (int64_t i = 0; i < w.numel(); ++i) {
    w.data<float>()[i] = scale * static_cast<float>((i * 7919) % 101 - 50);
  }
  return {w, w, w};
}

std::vector<Tensor> InputRows(int rank, int rows) {
  Tensor x = Tensor::Zeros(DType::kFloat32, {rows, 550});
  for (int64_t i = 0; i < x.numel(); ++i) {
    x.data<float>()[i] = static_cast<float>((i * 31 + rank * 17) % 23) * 0.05F - 0.5F;
  }
  return {x};
}

std::vector<Tensor> Input(int rank) { return InputRows(rank, 4); }

TEST(Buckets, ARankWithoutRowsMakesTheSameCalls) {
  auto replicas = MakeReplicas(3, Square(0.001F), Chain(), Batches({4, 0, 1}));
  WitnessedGroup group(3, /*overlapped=*/true);
  for (int step = 0; step < 2; ++step) {
    ASSERT_THAT(RunStep(replicas, group.ranks,
                        [](int rank) {
                          return InputRows(rank, rank == 0 ? 4 : rank == 1 ? 0 : 1);
                        }),
                Each(""));
  }
  EXPECT_EQ(Trained(replicas[1]), Trained(replicas[0]));
  EXPECT_EQ(Trained(replicas[2]), Trained(replicas[0]));
  EXPECT_NE(Trained(replicas[0])[0], ToVector(Square(0.001F)[0]));
}

TEST(Buckets, BeginWhileTheBackwardPassRunsAndGiveTheSameBits) {
  auto plain = MakeReplicas(2, Square(0.001F), Chain(), Batches({4, 4}), /*buckets=*/false);
  auto cut = MakeReplicas(2, Square(0.001F), Chain(), Batches({4, 4}));
  const Plan& plan = *cut[0].plan;
  std::string order;
  for (const Step& s : plan.steps) {
    if (plan.graph.is(s.node, ops::kAllReduceStart)) order += "start ";
    if (plan.graph.is(s.node, ops::kAllReduceWait)) order += "wait ";
    if (plan.graph.is(s.node, ops::kAllReduce)) order += "reduce ";
    if (plan.graph.is(s.node, ops::kMatmul) || plan.graph.is(s.node, ops::kMatmulFused)) {
      order += "product ";
    }
  }
  EXPECT_THAT(order, HasSubstr("start product")) << Print(plan);
  EXPECT_TRUE(plan.copies.empty()) << Print(plan);
  EXPECT_LE(plan.stats.activation_bytes, plain[0].plan->stats.activation_bytes + 8192);

  WitnessedGroup group(2), overlapped(2, /*overlapped=*/true);
  for (int step = 0; step < 3; ++step) {
    ASSERT_THAT(RunStep(plain, group.ranks, Input), Each(""));
    ASSERT_THAT(RunStep(cut, overlapped.ranks, Input), Each(""));
  }
  EXPECT_EQ(Trained(cut[0]), Trained(plain[0]));
  EXPECT_EQ(Trained(cut[1]), Trained(cut[0]));
  EXPECT_EQ(group.witnesses[0]->calls.size(), 3u);
  EXPECT_EQ(overlapped.witnesses[0]->calls.size(), 6u);  // 1.2 MB, then two of them
}

TEST(Buckets, AStepThatFailsLeavesNothingRunning) {
  auto replicas = MakeReplicas(2, Square(0.001F), Chain(), Batches({4, 4}));
  WitnessedGroup group(2, /*overlapped=*/true);
  group.ranks[0]->set_timeout(std::chrono::milliseconds(2000));
  // One rank never comes: the other ends with its name, and its arena is free again.
  const auto errors = RunRanks(group.ranks, [&](Communicator& c) {
    if (c.rank() == 1) return c.Abort("rank 1 (cpu:1) ended");
    const Communicator::Scope scope(&c);
    replicas[0].executable->Run(Input(0), &replicas[0].outputs);
  });
  EXPECT_THAT(errors[0], HasSubstr("rank 1 (cpu:1) ended"));
  EXPECT_EQ(Trained(replicas[0]), Trained(replicas[1])) << "a step that failed changed weights";
}

TEST(Buckets, DebugModeLooksAtFinishedReductions) {
  auto replicas = MakeReplicas(2, Square(0.001F), Chain(), Batches({4, 4}));
  WitnessedGroup group(2, /*overlapped=*/true);
  const auto errors = RunRanks(group.ranks, [&](Communicator& c) {
    const Communicator::Scope scope(&c);
    StepReplica& r = replicas[static_cast<size_t>(c.rank())];
    r.executable->RunDebug(Input(c.rank()), &r.outputs);
  });
  EXPECT_THAT(errors, Each(""));
  EXPECT_EQ(Trained(replicas[0]), Trained(replicas[1]));
}

}  // namespace
}  // namespace ostria
