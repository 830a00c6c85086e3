// SPDX-License-Identifier: Apache-2.0
// What goes wrong between GPUs, over fake-nccl: users get an error that names ranks and operation
// in time, and nobody waits for ever. What a device holds afterwards is lost, so each test has
// devices of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "backend_cuda/evaluate.h"
#include "backend_cuda/replicas.h"
#include "ir/builder.h"
#include "ops/ops.h"

namespace ostria {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::vector<Attr> kSum = {std::string("sum"), std::vector<int64_t>{}};

/// The sum of x over all replicas.
Graph Sum(DType dtype = DType::kFloat32) {
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {dtype, {100}}, 0);
  g.AddOutput("sum", b.Multi(ops::kAllReduce, std::vector<Value>{x}, kSum)[0]);
  return g;
}

/// Two replicas that add, on devices of their own.
struct Pair {
  explicit Pair(int first, milliseconds timeout, DType dtype = DType::kFloat32)
      : group(Replicas(DeviceKind::kCuda, first, 2, timeout)),
        compiled(std::make_unique<CompiledGraph>(Sum(dtype),
                                                 std::vector<std::shared_ptr<Variable>>(), group)),
        x(RandomTensor(dtype, {100}, 0, 9, 1)) {}
  void Run() {
    const std::vector<Tensor> inputs[] = {{x}, {x}};
    compiled->RunReplicas(inputs, &out);
  }
  void Read() {
    for (const auto& of_rank : out) of_rank[0].OnHost();
  }
  void RunAndRead() {
    Run();
    Read();
  }

  std::shared_ptr<ReplicaGroup> group;
  std::unique_ptr<CompiledGraph> compiled;
  Tensor x;
  std::vector<std::vector<Tensor>> out;
};

class NcclFailures : public testing::Test {
 protected:
  void SetUp() override {
    if (!OnFakeDriver()) GTEST_SKIP() << "failures are those of fake-nccl";
    RegisterBackend(CudaBackend());
    Devices(32);
    Inject("");
  }
  void TearDown() override {
    if (OnFakeDriver()) Inject("");
  }
  // Communicators go when no recording holds them.
  static void ExpectAllGone(int64_t lived) {
    for (int i = 0; i < 2000 && Live() != lived; ++i) {
      std::this_thread::sleep_for(milliseconds(1));
    }
    EXPECT_EQ(Live(), lived);
  }
};

TEST_F(NcclFailures, ACollectiveThatNeverEndsIsNamedInTime) {
  for (const int number : {1, 4}) {  // of the first run, and of a recording
    const int64_t lived = Live();
    {
      Pair pair(number == 1 ? 8 : 10, milliseconds(150));
      Inject(StrCat("hang:1:", number).c_str());
      for (int i = 1; i < number; ++i) pair.RunAndRead();
      pair.Run();
      const auto begin = steady_clock::now();
      const std::string error = ErrorOf([&] { pair.Read(); });
      EXPECT_LT(steady_clock::now() - begin, milliseconds(5000));
      EXPECT_THAT(error, AllOf(StartsWith("all_reduce: not done within 0.15 s on rank 0 (cuda:"),
                               HasSubstr("rank 1 (cuda:"), HasSubstr("NCCL_DEBUG=INFO"),
                               HasSubstr("from its last checkpoint")));
      // Garbage is not computed with.
      EXPECT_THAT(ErrorOf([&] { pair.Run(); }), HasSubstr("all_reduce: not done within"));
    }
    ExpectAllGone(lived);
  }
}

TEST_F(NcclFailures, AnErrorThatNcclReportsLaterIsTold) {
  const int64_t lived = Live();
  {
    Pair pair(12, milliseconds(20'000));
    Inject("error:1:3");
    const auto begin = steady_clock::now();
    const std::string error = ErrorOf([&] {
      for (int i = 0; i < 4; ++i) pair.RunAndRead();
    });
    EXPECT_LT(steady_clock::now() - begin, milliseconds(5000));
    EXPECT_THAT(error, AllOf(StartsWith("all_reduce: rank 1 (cuda:13): NCCL says: "),
                             HasSubstr("remote process exited"), HasSubstr("was asked for")));
  }
  ExpectAllGone(lived);
}

TEST_F(NcclFailures, ARankThatStopsEndsTheOthers) {
  const auto group = Replicas(DeviceKind::kCuda, 14, 2, milliseconds(20'000));
  const auto begin = steady_clock::now();
  const std::string error = ErrorOf([&] {
    group->Run([&](int r) {
      if (r == 1) Fail(ErrorCode::kIndexError, "index 9 is out of range");
      Communicator::Current()->Barrier("the end");
    });
  });
  EXPECT_EQ(error, "rank 1 (cuda:15): index 9 is out of range");
  EXPECT_LT(steady_clock::now() - begin, milliseconds(5000));
  // No device was at work: they go on.
  group->Run([](int) { Communicator::Current()->Barrier("the end"); });
}

TEST_F(NcclFailures, ARankThatDoesNotComeToNcclIsAnError) {
  const int64_t lived = Live();
  Pair pair(16, milliseconds(100));
  Inject("absent:1");
  const std::string error = ErrorOf([&] { pair.Run(); });
  EXPECT_THAT(error, AllOf(StartsWith("joining a group of GPUs: rank "),
                           HasSubstr("not all of 2 ranks came to NCCL within 0.1 s"),
                           HasSubstr("NCCL_SOCKET_IFNAME")));
  ExpectAllGone(lived);
  Inject("");
  pair.RunAndRead();  // nothing was lost
}

TEST_F(NcclFailures, ASlowRankIsWaitedFor) {
  Pair pair(18, milliseconds(20'000));
  Inject("delay:0:30");
  for (int i = 0; i < 4; ++i) pair.RunAndRead();
  const Tensor got = pair.out[1][0].OnHost();
  EXPECT_EQ(got.data<float>()[7], 2 * pair.x.data<float>()[7]);
}

TEST_F(NcclFailures, OneThatIsLateIsNamed) {
  const auto group = Replicas(DeviceKind::kCuda, 20, 2, milliseconds(100));
  CompiledGraph compiled(Sum(), {}, group);
  const Tensor x = RandomTensor(DType::kFloat32, {100}, 0, 9, 1);
  std::vector<std::vector<Tensor>> out;
  const std::vector<Tensor> inputs[] = {{x}, {x}};
  compiled.RunReplicas(inputs, &out);
  const std::string error = ErrorOf([&] {
    group->Run([&](int r) {  // rank 1 has another step to do, and none of it
      if (r == 1) return;
      std::vector<Tensor> one;
      compiled.specialisations()[0].executables[0]->Run({&x, 1}, &one);
      one[0].OnHost();
    });
  });
  EXPECT_THAT(error, StartsWith("all_reduce: rank 1 (cuda:21) did not come within 0.1 s"));
}

TEST_F(NcclFailures, DtypesThatNcclDoesNotAddAreRefused) {
  Pair pair(22, milliseconds(20'000), DType::kInt16);
  EXPECT_THAT(ErrorOf([&] { pair.Run(); }),
              AllOf(HasSubstr("NCCL does not reduce int16"), HasSubstr("cast before it")));
}

TEST_F(NcclFailures, AGroupOfTheHostAloneIsRefused) {
  const std::vector<DeviceId> devices = {{DeviceKind::kCuda, 24}, {DeviceKind::kCuda, 25}};
  const auto group = std::make_shared<ReplicaGroup>(devices, [] {
    return MakeLocalGroup({"cuda:24", "cuda:25"});
  });
  CompiledGraph compiled(Sum(), {}, group);
  const Tensor x = RandomTensor(DType::kFloat32, {100}, 0, 9, 1);
  std::vector<std::vector<Tensor>> out;
  const std::vector<Tensor> inputs[] = {{x}, {x}};
  EXPECT_THAT(ErrorOf([&] { compiled.RunReplicas(inputs, &out); }),
              HasSubstr("transport 'local' reaches host memory only"));
}

}  // namespace
}  // namespace ostria
