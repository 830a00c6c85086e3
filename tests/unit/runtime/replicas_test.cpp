// SPDX-License-Identifier: Apache-2.0
// Replicas: copies of variables, threads, plans that they share, and what an error leaves behind.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <set>
#include <thread>

#include "ir/builder.h"
#include "ops/ops.h"
#include "runtime/agreement.h"
#include "runtime/compiled_graph.h"
#include "runtime/eager.h"
#include "runtime/replicas.h"

namespace ostria {
namespace {

using namespace testing;

Tensor Index(int64_t value) {
  Tensor t = Tensor::Empty(DType::kInt64, {1});
  *t.data<int64_t>() = value;
  return t;
}

/// w <- w + the sum of x's rows; the result is twice x.
Graph Adder(int64_t variable) {
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {DType::kFloat32, {Dim::Symbol("batch"), 100}}, 0);
  const Value w = g.AddState(variable, "w", {DType::kFloat32, {100}}, 0);
  g.SetStateOut(0, b(ops::kAdd, {w, b(ops::kSum, {x}, {std::vector<int64_t>{0}, false})}));
  g.AddOutput("twice", b(ops::kAdd, {x, x}));
  return g;
}

/// w <- w + table[at]: a bad index is refused while the step runs.
Graph Gatherer(int64_t variable) {
  Graph g;
  Builder b(g, 0);
  const Value table = g.AddInput("table", {DType::kFloat32, {4, 100}}, 0);
  const Value at = g.AddInput("at", {DType::kInt64, {1}}, 0);
  const Value w = g.AddState(variable, "w", {DType::kFloat32, {100}}, 0);
  const Value row = b(ops::kGather, {table, at}, {int64_t{0}});
  g.SetStateOut(0, b(ops::kAdd, {w, b(ops::kSum, {row}, {std::vector<int64_t>{0}, false})}));
  g.AddOutput("row", row);
  return g;
}

/// w <- w with the row `at` replaced: the op that may refuse its data writes the state itself.
Graph Updater(int64_t variable) {
  Graph g;
  Builder b(g, 0);
  const Value at = g.AddInput("at", {DType::kInt64, {1}}, 0);
  const Value row = g.AddInput("row", {DType::kFloat32, {1}}, 0);
  const Value w = g.AddState(variable, "w", {DType::kFloat32, {100}}, 0);
  g.SetStateOut(0, b(ops::kScatterUpdate, {w, at, row}, {int64_t{0}}));
  return g;
}

TEST(Copies, LieAtEqualOffsetsAndHoldTheValue) {
  const VariablePtr before = Made(1), w = Made(2);
  const VariablePtr slot = Variable::CreateSlot(w, "momentum", 3);
  slot->Mirror(Cpus(3));
  EXPECT_EQ(w->num_copies(), 3);  // a slot brings what it is of
  for (const VariablePtr& v : {w, slot}) {
    std::set<void*> places;
    for (int c = 0; c < 3; ++c) {
      EXPECT_EQ(v->device(c), Cpu(c));
      EXPECT_EQ(First(v->SnapshotCopy(c)), v == w ? 2 : 3);
      places.insert(v->data(c));
    }
    EXPECT_EQ(places.size(), 3u);
  }
  before->Mirror(Cpus(3));
  for (int c = 0; c < 3; ++c) {
    const auto apart = [&](const VariablePtr& a) {
      return static_cast<std::byte*>(a->data(c)) - static_cast<std::byte*>(before->data(c));
    };
    EXPECT_EQ(apart(w), w->offset() - before->offset());
  }
}

TEST(Copies, AreAllAssigned) {
  const VariablePtr w = Made(1), sum = Made(1, Copies::kSummed);
  for (const VariablePtr& v : {w, sum}) {
    v->Mirror(Cpus(2));
    v->Assign(Filled({100}, 5));
  }
  EXPECT_EQ(First(w->SnapshotCopy(1)), 5);
  EXPECT_EQ(First(sum->SnapshotCopy(0)), 5);
  EXPECT_EQ(First(sum->SnapshotCopy(1)), 0);
  EXPECT_EQ(First(sum->Snapshot()), 5);
}

TEST(Copies, OfASumAreAddedWhenRead) {
  const VariablePtr sum = Made(1, Copies::kSummed);
  sum->Mirror(Cpus(3));
  for (int c = 0; c < 3; ++c) sum->AssignCopy(c, Filled({100}, static_cast<float>(c + 1)));
  EXPECT_EQ(First(sum->Snapshot()), 6);
  EXPECT_EQ(First(sum->View()), 6);
  EXPECT_EQ(First(sum->Copy()), 6);
  sum->MoveTo(Cpu(7));
  EXPECT_EQ(sum->num_copies(), 1);
  EXPECT_EQ(First(sum->Snapshot()), 6);
  EXPECT_NE(ErrorOf([] {
              Variable::Create("on", Tensor::Scalar(DType::kBool, true), StateClass::kOther, {},
                               Copies::kSummed);
            }).find("bools cannot be added up"),
            std::string::npos);
}

class ReplicaCounts : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(All, ReplicaCounts, ::testing::Values(1, 2, 3, 4));

TEST_P(ReplicaCounts, RunOnInputsOfTheirOwn) {
  const int n = GetParam();
  const VariablePtr sum = Made(10, Copies::kSummed);
  CompiledGraph compiled(Adder(sum->id()), {sum}, Group(n));
  std::vector<std::vector<Tensor>> inputs, outputs;
  float expected = 10;
  for (int r = 0; r < n; ++r) {  // the first has no rows, two have as many
    const int64_t rows = r < 3 ? r : 1;
    inputs.push_back({Filled({rows, 100}, static_cast<float>(r + 1))});
    expected += 2 * static_cast<float>(rows * (r + 1));
  }
  for (int step = 0; step < 2; ++step) compiled.RunReplicas(inputs, &outputs);
  EXPECT_EQ(First(sum->Snapshot()), expected);
  for (int r = 1; r < n; ++r) EXPECT_EQ(First(outputs[static_cast<size_t>(r)][0]), 2 * (r + 1));
  EXPECT_EQ(outputs[0][0].shape(), (Shape{0, 100}));
  // One plan for each size, shared by those that have it.
  EXPECT_EQ(compiled.num_specialised(), std::min(n, 3));
  for (const Specialisation& s : compiled.specialisations()) {
    for (const auto& e : s.executables) {
      EXPECT_TRUE(e == nullptr || &e->plan() == s.plan.get());
    }
  }
}

TEST_P(ReplicaCounts, MeetInThreadsThatAreKept) {
  const int n = GetParam();
  const auto group = Group(n);
  std::vector<std::set<std::thread::id>> ids(static_cast<size_t>(n));
  std::atomic<int> right{0};
  for (int run = 0; run < 20; ++run) {
    group->Run([&](int r) {
      ids[static_cast<size_t>(r)].insert(std::this_thread::get_id());
      Communicator& all = *Communicator::Current();
      float x = static_cast<float>(r + 1);
      all.AllReduce("x", &x, 1, DType::kFloat32, ReduceOp::kSum);
      right += all.rank() == r && all.size() == n && x == static_cast<float>(n * (n + 1)) / 2 &&
               NumThreads() == group->threads_each() && GetDefaultDevice() == Cpu(r);
    });
  }
  EXPECT_EQ(right, 20 * n);
  for (const auto& of_replica : ids) EXPECT_EQ(of_replica.size(), 1u);
  EXPECT_EQ(Communicator::Current(), nullptr);
}

/// Alone in its group; notes how it was called.
class Noting final : public Communicator {
 public:
  explicit Noting(std::vector<ReduceOrder>* orders) : orders_(*orders) {}
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::string_view transport() const override { return "noting"; }
  void AllReduce(std::string_view, void*, int64_t, DType, ReduceOp, ReduceOrder order) override {
    orders_.push_back(order);
  }
  void ReduceScatter(std::string_view, const void*, void*, int64_t, DType, ReduceOp,
                     ReduceOrder order) override {
    orders_.push_back(order);
  }
  void AllGather(std::string_view, void*, int64_t) override {}
  void Broadcast(std::string_view, void*, int64_t, int) override {}
  void Barrier(std::string_view) override {}
  void Abort(const std::string&) override {}
  void set_timeout(milliseconds) override {}

 private:
  std::vector<ReduceOrder>& orders_;
};

TEST(Replicas, OneAloneHasTheThreadOfItsCaller) {
  ReplicaGroup group({Cpu(1)}, [] { return MakeLocalGroup({"cpu:1"}); }, {.threads_each = 1});
  const ThreadShare share(3);
  const DeviceId device = GetDefaultDevice();
  const std::thread::id caller = std::this_thread::get_id();
  int runs = 0;
  group.Run([&](int i) {
    EXPECT_EQ(i, 0);
    EXPECT_EQ(std::this_thread::get_id(), caller);
    EXPECT_NE(Communicator::Current(), nullptr);
    EXPECT_EQ(GetDefaultDevice(), Cpu(1));
    EXPECT_EQ(NumThreads(), 1);
    ++runs;
  });
  EXPECT_EQ(runs, 1);
  EXPECT_THROW(group.Run([](int) { Fail(ErrorCode::kInvalidArgument, "no"); }), Error);
  EXPECT_EQ(Communicator::Current(), nullptr);
  EXPECT_EQ(GetDefaultDevice(), device);
  EXPECT_EQ(NumThreads(), 3);
}

TEST(Replicas, AddAsATreeAndComputeOnOneThreadWhereTheyAreReproducible) {
  for (const bool reproducible : {false, true}) {
    std::vector<ReduceOrder> orders;
    const auto connect = [&] {
      std::vector<std::unique_ptr<Communicator>> ranks;
      ranks.push_back(std::make_unique<Noting>(&orders));
      return ranks;
    };
    const ThreadShare share(6);
    const auto group = std::make_shared<ReplicaGroup>(
        Cpus(1), connect, reproducible ? kReproducible : ReplicaOptions{});
    EXPECT_EQ(group->threads_each(), reproducible ? 1 : 6);
    Graph g;
    Builder b(g, 0);
    const Value x = g.AddInput("x", {DType::kFloat32, {100}}, 0);
    const Value sum = b.Multi(ops::kAllReduce, {x})[0];  // in two halves, for there is work between
    const Value part = b(ops::kReduceScatter, {b(ops::kTanh, {x})});
    g.AddOutput("sum", b(ops::kAdd, {sum, part}));
    CompiledGraph compiled(std::move(g), {}, group);
    const std::vector<std::vector<Tensor>> inputs = {{Filled({100}, 1)}};
    std::vector<std::vector<Tensor>> outputs;
    compiled.RunReplicas(inputs, &outputs);
    const ReduceOrder order = reproducible ? ReduceOrder::kTree : ReduceOrder::kAny;
    EXPECT_EQ(orders, (std::vector<ReduceOrder>{order, order}));
  }
}

TEST(Replicas, AnErrorEndsTheOthersAndIsTheOneThatIsThrown) {
  const auto group = Group(3);
  const auto begin = std::chrono::steady_clock::now();
  const std::string error = ErrorOf([&] {
    group->Run([&](int r) {
      if (r == 1) Fail(ErrorCode::kIndexError, "index 9 is out of range");
      Communicator::Current()->Barrier("the end");  // rank 1 never comes
    });
  });
  EXPECT_EQ(error, "rank 1 (cpu:1): index 9 is out of range");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, milliseconds(4000));
  std::atomic<int> met{0};
  group->Run([&](int) {
    Communicator::Current()->Barrier("the end");
    ++met;
  });
  EXPECT_EQ(met, 3);
}

// The one that fails may have told the others before its own error is noted.
TEST(Replicas, AnErrorOfCommunicationGivesWayToItsCause) {
  const auto group = Group(2);
  const std::string error = ErrorOf([&] {
    group->Run([&](int r) {
      if (r == 0) Communicator::Current()->Barrier("the end");
      Communicator::Current()->Abort("another op failed");
      std::this_thread::sleep_for(milliseconds(20));
      Fail(ErrorCode::kIndexError, "index 9 is out of range");
    });
  });
  EXPECT_EQ(error, "rank 1 (cpu:1): index 9 is out of range");
}

TEST(Replicas, OneThatDoesNotComeIsNamed) {
  const auto group = Group(2, milliseconds(50));
  const std::string error = ErrorOf([&] {
    group->Run([&](int r) {
      if (r == 0) Communicator::Current()->Barrier("the end");
    });
  });
  EXPECT_EQ(error, "the end: rank 1 (cpu:1) did not come within 0.05 s");
}

TEST(Replicas, ChangeNoStateWhereOneRefusesItsData) {
  for (int bad : {0, 1}) {
    const VariablePtr w = Made(1);
    CompiledGraph compiled(Gatherer(w->id()), {w}, Group(2));
    const Tensor table = Filled({4, 100}, 2);
    const auto run = [&](int64_t first, int64_t second) {
      const std::vector<Tensor> inputs[] = {{table, Index(first)}, {table, Index(second)}};
      std::vector<std::vector<Tensor>> outputs;
      compiled.RunReplicas(inputs, &outputs);
    };
    run(0, 1);
    EXPECT_EQ(First(w->SnapshotCopy(1)), 3);
    const std::string error = ErrorOf([&] { run(bad == 0 ? 9 : 0, bad == 1 ? 9 : 0); });
    EXPECT_EQ(error.rfind(bad == 0 ? "rank 0 (cpu): gather: index 9"
                                   : "rank 1 (cpu:1): gather: "
                                     "index 9",
                          0),
              0u)
        << error;
    for (int c : {0, 1}) EXPECT_EQ(First(w->SnapshotCopy(c)), 3) << "copy " << c;
    run(2, 3);
    for (int c : {0, 1}) EXPECT_EQ(First(w->SnapshotCopy(c)), 5) << "copy " << c;
  }
}

TEST(Replicas, ChangeNoStateWhereTheOpThatRefusesWritesIt) {
  const VariablePtr w = Made(1);
  CompiledGraph compiled(Updater(w->id()), {w}, Group(2));
  const Tensor row = Filled({1}, 7);
  const std::vector<Tensor> inputs[] = {{Index(0), row}, {Index(200), row}};
  std::vector<std::vector<Tensor>> outputs;
  const std::string error = ErrorOf([&] { compiled.RunReplicas(inputs, &outputs); });
  EXPECT_EQ(error.rfind("rank 1 (cpu:1): scatter_update: index 200", 0), 0u) << error;
  for (int c : {0, 1}) EXPECT_EQ(First(w->SnapshotCopy(c)), 1) << "copy " << c;
  const std::vector<Tensor> good[] = {{Index(0), row}, {Index(0), row}};
  compiled.RunReplicas(good, &outputs);
  for (int c : {0, 1}) EXPECT_EQ(First(w->SnapshotCopy(c)), 7) << "copy " << c;
}

TEST(Replicas, SeeWhatOneDeviceWroteAndTheOtherWayRound) {
  const VariablePtr w = Made(1), sum = Made(1, Copies::kSummed);
  const Tensor x = Filled({1, 100}, 1);
  std::vector<std::vector<Tensor>> outputs;
  std::vector<Tensor> out;
  for (const VariablePtr& v : {w, sum}) {
    CompiledGraph both(Adder(v->id()), {v}, Group(2)), alone(Adder(v->id()), {v});
    const std::vector<Tensor> inputs[] = {{x}, {x}};
    both.RunReplicas(inputs, &outputs);
    alone.Run({&x, 1}, &out);
    both.RunReplicas(inputs, &outputs);
    alone.Run({&x, 1}, &out);
    EXPECT_EQ(First(v->Snapshot()), v == w ? 5 : 7);
    EXPECT_EQ(v->num_copies(), 2);  // alone where copy 0 is: nothing moved
    both.RunReplicas(inputs, &outputs);
    EXPECT_EQ(First(v->Snapshot()), v == w ? 6 : 9);
    EXPECT_EQ(First(v->SnapshotCopy(1)), v == w ? 6 : 1);
  }
}

TEST(Replicas, TakeVariablesFromOtherGroups) {
  const VariablePtr w = Made(1, Copies::kEqual, Cpu(3));
  const Tensor x = Filled({1, 100}, 1);
  CompiledGraph two(Adder(w->id()), {w}, Group(2)), three(Adder(w->id()), {w}, Group(3));
  std::vector<std::vector<Tensor>> outputs;
  const std::vector<Tensor> inputs[] = {{x}, {x}, {x}};
  for (int turn = 0; turn < 2; ++turn) {
    two.RunReplicas({inputs, 2}, &outputs);
    three.RunReplicas(inputs, &outputs);
  }
  EXPECT_EQ(First(w->Snapshot()), 5);
  EXPECT_EQ(First(w->SnapshotCopy(2)), 5);
}

TEST(Copies, AreAddedInTheOrderOfReplicas) {
  const VariablePtr sum = Made(0, Copies::kSummed);
  sum->Mirror(Cpus(5));
  const float parts[] = {1e8F, 1, -1e8F, 1, 3};
  for (int c = 0; c < 5; ++c) sum->AssignCopy(c, Filled({100}, parts[c]));
  EXPECT_EQ(First(sum->Snapshot()), 3);  // one after the other it would be 4
}

TEST(Replicas, OfTwoGroupsTakeTurns) {
  const VariablePtr v[] = {Made(0), Made(0)};
  const Tensor x = Filled({1, 100}, 1);
  std::vector<std::jthread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      CompiledGraph compiled(Gatherer(v[t]->id()), {v[t]}, Group(2));
      const Tensor table = Filled({4, 100}, 1);
      const std::vector<Tensor> inputs[] = {{table, Index(0)}, {table, Index(1)}};
      std::vector<std::vector<Tensor>> outputs;
      for (int step = 0; step < 50; ++step) compiled.RunReplicas(inputs, &outputs);
    });
  }
  threads.clear();
  for (const VariablePtr& w : v) EXPECT_EQ(First(w->Snapshot()), 50);
}

TEST(Replicas, AreProfiledAndTheirStateRestored) {
  const VariablePtr sum = Made(1, Copies::kSummed);
  CompiledGraph compiled(Adder(sum->id()), {sum}, Group(2));
  const std::vector<Tensor> inputs[] = {{Filled({2, 100}, 1)}, {Filled({3, 100}, 1)}};
  std::vector<std::vector<Tensor>> outputs;
  compiled.RunReplicas(inputs, &outputs);
  const auto [executable, ns] = compiled.ProfileReplicas(inputs, 3);
  EXPECT_EQ(ns.size(), executable->plan().steps.size());
  EXPECT_EQ(First(sum->Snapshot()), 6);
  EXPECT_EQ(First(sum->SnapshotCopy(1)), 3);
}

TEST(Replicas, CompareTheirCopiesInDebugMode) {
  const VariablePtr w = Made(1);
  CompiledGraph compiled(Adder(w->id()), {w}, Group(2));
  std::vector<std::vector<Tensor>> outputs;
  const std::vector<Tensor> same[] = {{Filled({1, 100}, 1)}, {Filled({1, 100}, 1)}};
  compiled.RunReplicas(same, &outputs, true);
  const std::vector<Tensor> inputs[] = {{Filled({1, 100}, 1)}, {Filled({1, 100}, 2)}};
  const std::string error = ErrorOf([&] { compiled.RunReplicas(inputs, &outputs, true); });
  EXPECT_NE(error.find("variable 'w' differs between cpu and cpu:1 after the step"),
            std::string::npos)
      << error;
}

TEST(Agreement, IsReachedByCollectivesAlone) {
  const VariablePtr w = Made(1), sum = Made(1, Copies::kSummed);
  const int own[] = {0};
  const auto refused = [&](const Graph& g, const VariablePtr& v) {
    const std::string error = ErrorOf([&] { RequireAgreement(g, {&v, 1}, own); });
    return error.find("'w' is assigned a value that each replica computes") != std::string::npos;
  };
  EXPECT_TRUE(refused(Adder(w->id()), w));
  EXPECT_FALSE(refused(Adder(sum->id()), sum));
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {DType::kFloat32, {100}}, 0);
  const Value v = g.AddState(w->id(), "w", {DType::kFloat32, {100}}, 0);
  g.SetStateOut(0, b(ops::kAdd, {v, b.Multi(ops::kAllReduce, {x})[0]}));
  EXPECT_FALSE(refused(g, w));
  const VariablePtr m = Variable::CreateSlot(w, "m", 0);  // a part of it is a replica's own
  const VariablePtr both[] = {w, m};
  const Graph divides = Dividing(w->id(), m->id());
  const Parts held[] = {{}, {2, 0, {}}};
  EXPECT_EQ(ErrorOf([&] { RequireAgreement(divides, both, own, held); }), "no error");
  EXPECT_NE(ErrorOf([&] { RequireAgreement(divides, both, own); }).find("'w/m' is assigned"),
            std::string::npos);
  Graph scatters;  // even what all agree on becomes a part for each
  Builder d(scatters, 0);
  const Value all = scatters.AddState(w->id(), "w", {DType::kFloat32, {100}}, 0);
  const Value half = d(ops::kReduceScatter, {all}, {std::string("sum"), int64_t{2}});
  scatters.SetStateOut(0, d(ops::kConcat, {half, half}, {int64_t{0}}));
  EXPECT_NE(ErrorOf([&] {
              RequireAgreement(scatters, {&w, 1}, {});
            }).find("'w' is assigned"),
            std::string::npos);
  Graph takes;
  Builder e(takes, 0);
  const Value whole = takes.AddState(w->id(), "w", {DType::kFloat32, {100}}, 0);
  const Value part = e(ops::kReplicaPart, {whole}, {int64_t{2}});
  takes.SetStateOut(0, e(ops::kConcat, {part, part}, {int64_t{0}}));
  EXPECT_NE(ErrorOf([&] {
              RequireAgreement(takes, {&w, 1}, {});
            }).find("'w' is assigned"),
            std::string::npos);
  Graph sized;  // what depends on the batch's size alone differs too
  Builder c(sized, 0);
  const Value old = sized.AddState(w->id(), "w", {DType::kInt64, {}}, 0);
  sized.SetStateOut(
      0,
      c(ops::kAdd, {old, c(ops::kDimProduct, {}, {Shape({Dim::Symbol("batch")}), DType::kInt64})}));
  const std::string error = ErrorOf([&] { RequireAgreement(sized, {&w, 1}, {}); });
  EXPECT_NE(error.find("computes from data of its own"), std::string::npos) << error;
}

TEST(Replicas, RefuseDevicesThatCannotWorkTogether) {
  const auto error = [](std::vector<DeviceId> devices) {
    return ErrorOf([&] { ReplicaGroup(devices, [] { return MakeLocalGroup({}); }); });
  };
  EXPECT_NE(error({}).find("no device"), std::string::npos);
  EXPECT_NE(error({Cpu(1), Cpu(1)}).find("cpu:1 is given twice"), std::string::npos);
  EXPECT_NE(error({Cpu(0), {DeviceKind::kNull, 0}}).find("one kind"), std::string::npos);
  EXPECT_NE(error({{DeviceKind::kNull, 0}}).find("computes nothing"), std::string::npos);
}

}  // namespace
}  // namespace ostria
