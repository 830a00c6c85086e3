// SPDX-License-Identifier: Apache-2.0
// NCCL with one rank: a communicator, and a sum over all ranks inside a captured step; then the
// same as a replica runs it. Real on a GPU, fake-nccl elsewhere.
#include "backend/cuda/libraries/nccl.h"
#include "backend/communicator.h"
#include "backend/cuda/stream.h"
#include "backend_cuda/evaluate.h"
#include "dist/local.h"
#include "ir/builder.h"
#include "ops/ops.h"
#include "runtime/compiled_graph.h"

namespace ostria {

Backend* CudaBackend();

namespace {

using cuda::CheckNccl;
using cuda::Nccl;

// Why NCCL cannot be used here; empty where it can.
std::string Obstacle() {
  try {
    CudaBackend()->MakeStream(0);
    Nccl();
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

TEST(CudaNccl, SumsOverOneRankInACapturedStep) {
  if (const std::string why = Obstacle(); !why.empty()) GTEST_SKIP() << why;
  const auto stream = CudaBackend()->MakeStream(0);
  stream->MakeCurrent();
  auto* const handle =
      reinterpret_cast<cudaStream_t>(static_cast<cuda::CudaStream&>(*stream).handle());
  ncclUniqueId id;
  CheckNccl(Nccl().ncclGetUniqueId(&id), "making an id");
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 1;
  ncclComm_t ranks = nullptr;
  CheckNccl(Nccl().ncclCommInitRankConfig(&ranks, 1, id, 0, &config), "joining");

  constexpr int64_t kElements = 71 * 229;
  const Tensor x = RandomTensor(DType::kFloat32, {kElements}, -1, 1, 1);
  const auto bytes = static_cast<size_t>(x.bytes());
  void* const from = CudaBackend()->Allocate(0, bytes);
  void* const to = CudaBackend()->Allocate(0, bytes);
  const auto sum = [&] {
    CheckNccl(Nccl().ncclAllReduce(from, to, kElements, ncclFloat32, ncclSum, ranks, handle),
              "summing");
  };
  sum();  // what it allocates, it allocates now
  stream->Synchronize();
  stream->BeginCapture();
  sum();
  stream->CopyOnDevice(from, to, bytes / 2);
  auto recording = stream->EndCapture();
  for (uint64_t seed : {2, 3, 4}) {
    const Tensor given = RandomTensor(DType::kFloat32, {kElements}, -1, 1, seed);
    CudaBackend()->CopyToDevice(0, from, given.raw(), bytes);
    recording->Launch(*stream);
    stream->Synchronize();
    Tensor got = Tensor::Empty(DType::kFloat32, {kElements});
    CudaBackend()->CopyToHost(0, got.raw(), to, bytes);
    ExpectClose(got, given, 0);
  }
  ncclResult_t error = ncclSuccess;
  CheckNccl(Nccl().ncclCommGetAsyncError(ranks, &error), "asking for errors");
  EXPECT_EQ(error, ncclSuccess);
  recording = nullptr;  // NCCL waits for graphs that hold a communicator
  CheckNccl(Nccl().ncclCommDestroy(ranks), "leaving");
  CudaBackend()->Free(0, from, bytes);
  CudaBackend()->Free(0, to, bytes);
}

TEST(CudaNccl, OneReplicaTrainsThroughItsCommunicator) {
  if (const std::string why = Obstacle(); !why.empty()) GTEST_SKIP() << why;
  RegisterBackend(CudaBackend());
  const DeviceId gpu = {DeviceKind::kCuda, 0};
  const auto group = std::make_shared<ReplicaGroup>(std::vector<DeviceId>{gpu}, [] {
    const int ordinals[] = {0};
    return CudaBackend()->Connect(ordinals, MakeLocalGroup({"cuda:0"}),
                                  std::chrono::milliseconds(60'000));
  });
  const Tensor start = RandomTensor(DType::kFloat32, {71, 229}, -1, 1, 1);
  const auto w = Variable::Create("w", start, StateClass::kTrainable);
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {DType::kFloat32, {71, 229}}, 0);
  const Value old = g.AddState(w->id(), "w", {w->dtype(), w->shape()}, 0);
  const Value sum = b.Multi(ops::kAllReduce, std::vector<Value>{x},
                            {std::string("sum"), std::vector<int64_t>{}})[0];
  g.SetStateOut(0, b(ops::kMaximum, {old, sum}));
  g.AddOutput("gathered", b(ops::kAllGather, {x}, {int64_t{1}}));
  g.AddOutput("scattered", b(ops::kReduceScatter, {x}, {std::string("max"), int64_t{1}}));
  g.AddOutput("first", b(ops::kBroadcast, {x}, {int64_t{0}}));
  CompiledGraph step(std::move(g), {w}, group);
  Tensor want = start;
  for (uint64_t seed = 2; seed < 7; ++seed) {
    const std::vector<Tensor> inputs[] = {{RandomTensor(DType::kFloat32, {71, 229}, -1, 1, seed)}};
    std::vector<std::vector<Tensor>> out;
    step.RunReplicas(inputs, &out);
    for (const Tensor& t : out[0]) ExpectClose(t.OnHost(), inputs[0][0], 0);
    want = EvaluateOnCpu(ops::kMaximum, {}, {want, inputs[0][0]})[0];
  }
  ExpectClose(w->Snapshot(), want, 0);
}

}  // namespace
}  // namespace ostria
