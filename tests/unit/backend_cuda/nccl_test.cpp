// SPDX-License-Identifier: Apache-2.0
// NCCL with one rank: a communicator, and a sum over all ranks inside a captured step.
#include "backend/cuda/libraries/nccl.h"
#include "backend/cuda/stream.h"
#include "backend_cuda/evaluate.h"

namespace ostria {

Backend* CudaBackend();

namespace {

using cuda::CheckNccl;
using cuda::Nccl;

// Why NCCL cannot be used here; empty where it can.
std::string Obstacle() {
  if (OnFakeDriver()) return "NCCL needs a GPU";
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
  const auto recording = stream->EndCapture();
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
  CheckNccl(Nccl().ncclCommDestroy(ranks), "leaving");
  CudaBackend()->Free(0, from, bytes);
  CudaBackend()->Free(0, to, bytes);
}

}  // namespace
}  // namespace ostria
