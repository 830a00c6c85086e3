// SPDX-License-Identifier: Apache-2.0
// The stand-in for the driver: it must show the mistakes that tests of the backend look for.
#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/stream.h"
#include "backend_cuda/fake.h"

namespace ostria {

Backend* CudaBackend();

namespace {

using cuda::Driver;

// Two streams of device 0 and one int on it.
class FakeDriver : public testing::Test {
 protected:
  FakeDriver() : device(cuda::CudaDevice::Get(0)), a(device), b(device) {
    device.MakeCurrent();
    Driver().cuMemAlloc(&cell, 4);
  }
  ~FakeDriver() override {
    fake::Fail("");
    fake::Reset();
    Driver().cuMemFree(cell);
  }
  void Write(const cuda::CudaStream& s, unsigned char value) {
    ASSERT_EQ(Driver().cuMemsetD8Async(cell, value, 4, s.handle()), CUDA_SUCCESS);
  }
  int Read() {
    int value = 0;
    Driver().cuMemcpyDtoH(&value, cell, 4);
    return value;
  }

  cuda::CudaDevice& device;
  cuda::CudaStream a, b;
  CUdeviceptr cell = 0;
};

TEST_F(FakeDriver, RunsNothingBeforeSomebodyWaits) {
  std::set<int> seen;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    fake::Seed(seed);
    Write(a, 1);
    seen.insert(Read());  // on the null stream, which does not wait for others
    a.Synchronize();
    EXPECT_EQ(Read(), 0x01010101);
    Write(a, 0);
    a.Synchronize();
  }
  EXPECT_TRUE(seen.contains(0));
}

TEST_F(FakeDriver, OrdersStreamsOnlyByEvents) {
  std::set<int> without, with;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    for (const bool edge : {false, true}) {
      fake::Seed(seed);
      Write(a, 1);
      if (edge) b.WaitFor(*a.Record());
      Write(b, 2);
      b.Synchronize();
      a.Synchronize();
      (edge ? with : without).insert(Read());
    }
  }
  EXPECT_EQ(without, (std::set<int>{0x01010101, 0x02020202}));
  EXPECT_EQ(with, (std::set<int>{0x02020202}));
}

TEST_F(FakeDriver, ReadsTheHostsMemoryLate) {
  int value = 5;
  a.CopyToDevice(reinterpret_cast<void*>(cell), &value, 4);
  value = 6;
  a.Synchronize();
  EXPECT_EQ(Read(), 6);
}

TEST_F(FakeDriver, EventsAreDoneWhenTheirWorkIs) {
  Write(a, 3);
  const auto event = a.Record();
  int polls = 0;
  while (!event->Done()) ++polls;
  EXPECT_EQ(Read(), 0x03030303);
  EXPECT_LT(polls, 1000);
}

TEST_F(FakeDriver, ReplaysACapturedGraphInALegalOrder) {
  CUdeviceptr other = 0;
  Driver().cuMemAlloc(&other, 4);
  std::set<int> seen;
  for (const bool edge : {true, false}) {
    a.BeginCapture();
    const auto fork = a.Record();
    b.WaitFor(*fork);
    Write(a, 1);
    if (edge) b.WaitFor(*a.Record());
    Write(b, 2);
    a.WaitFor(*b.Record());
    a.CopyOnDevice(reinterpret_cast<void*>(other), reinterpret_cast<void*>(cell), 4);
    const auto recording = a.EndCapture();
    EXPECT_EQ(recording->num_nodes(), 3);
    seen.clear();
    for (uint64_t seed = 0; seed < 40; ++seed) {
      fake::Seed(seed);
      recording->Launch(a);
      a.Synchronize();
      int value = 0;
      Driver().cuMemcpyDtoH(&value, other, 4);
      seen.insert(value);
    }
    EXPECT_EQ(seen.size(), edge ? 1u : 2u);
    EXPECT_TRUE(seen.contains(0x02020202));
  }
  Driver().cuMemFree(other);
}

TEST_F(FakeDriver, CapturedWorkDoesNotRun) {
  Write(a, 1);
  a.Synchronize();
  a.BeginCapture();
  Write(a, 2);
  const auto recording = a.EndCapture();
  a.Synchronize();
  EXPECT_EQ(Read(), 0x01010101);
}

TEST_F(FakeDriver, RefusesACaptureThatIsNotJoined) {
  a.BeginCapture();
  b.WaitFor(*a.Record());
  Write(b, 2);
  CUgraph graph = nullptr;
  EXPECT_EQ(Driver().cuStreamEndCapture(a.handle(), &graph), CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
  b.Synchronize();  // no part of a capture any more
}

TEST_F(FakeDriver, RefusesWhatACaptureForbids) {
  int value = 0;
  CUdeviceptr p = 0;
  CUgraph graph = nullptr;
  const auto outside = b.Record();
  const auto end = [&] { return Driver().cuStreamEndCapture(a.handle(), &graph); };
  const auto begin = [&] { a.BeginCapture(); };
  begin();
  EXPECT_EQ(Driver().cuMemAlloc(&p, 4), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  EXPECT_EQ(end(), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  begin();
  EXPECT_EQ(Driver().cuStreamSynchronize(a.handle()), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  EXPECT_EQ(end(), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  begin();
  EXPECT_EQ(Driver().cuMemcpyDtoH(&value, cell, 4), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  EXPECT_EQ(end(), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  begin();
  EXPECT_EQ(Driver().cuMemsetD8Async(cell, 0, 4, nullptr), CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
  EXPECT_EQ(end(), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  begin();
  EXPECT_EQ(Driver().cuCtxSynchronize(), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  EXPECT_EQ(end(), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  Write(b, 1);
  const auto uncaptured = b.Record();
  begin();
  EXPECT_THROW(a.WaitFor(*uncaptured), Error);  // isolation
  EXPECT_EQ(end(), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  begin();
  b.BeginCapture();
  EXPECT_THROW(b.WaitFor(*a.Record()), Error);  // a merge
  EXPECT_EQ(end(), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  EXPECT_EQ(Driver().cuStreamEndCapture(b.handle(), &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  begin();
  std::thread([&] {
    EXPECT_EQ(Driver().cuStreamEndCapture(a.handle(), &graph),
              CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
    // What this thread allocates is its own affair.
    device.MakeCurrent();
    EXPECT_EQ(Driver().cuMemAlloc(&p, 4), CUDA_SUCCESS);
    EXPECT_EQ(Driver().cuMemFree(p), CUDA_SUCCESS);
  }).join();
  const auto captured = a.Record();
  EXPECT_THROW(captured->Wait(), Error);
  EXPECT_EQ(end(), CUDA_SUCCESS);
  Driver().cuGraphDestroy(graph);
}

TEST_F(FakeDriver, SeesCopiesOutOfRangeAndAfterFree) {
  char bytes[64] = {};
  a.CopyToDevice(reinterpret_cast<void*>(cell), bytes, 5);
  EXPECT_THROW(a.Synchronize(), Error);
  EXPECT_NE(fake::LastFault().find("not within memory"), std::string::npos) << fake::LastFault();
  fake::Reset();
  CUdeviceptr gone = 0;
  Driver().cuMemAlloc(&gone, 64);
  Driver().cuMemFree(gone);
  a.CopyToHost(bytes, reinterpret_cast<void*>(gone), 8);
  EXPECT_THROW(a.Synchronize(), Error);
  EXPECT_NE(fake::LastFault().find("freed memory"), std::string::npos) << fake::LastFault();
  fake::Reset();
}

TEST_F(FakeDriver, SeesKernelsThatAreGivenFreedOrForeignMemory) {
  struct {
    void* dst;
    int64_t elements;
    uint64_t bits;
  } params = {nullptr, 1, 7};
  void* config[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &params, CU_LAUNCH_PARAM_BUFFER_SIZE, nullptr,
                    CU_LAUNCH_PARAM_END};
  size_t bytes = sizeof params;
  config[3] = &bytes;
  const CUfunction fill = device.Kernel("fill/fill", "fill_4");
  const auto launch = [&](CUdeviceptr p) {
    params.dst = reinterpret_cast<void*>(p);
    return Driver().cuLaunchKernel(fill, 1, 1, 1, 32, 1, 1, 0, a.handle(), nullptr, config);
  };
  EXPECT_EQ(launch(cell), CUDA_SUCCESS);
  a.Synchronize();
  EXPECT_EQ(Read(), 7);
  CUdeviceptr gone = 0, foreign = 0;
  Driver().cuMemAlloc(&gone, 64);
  Driver().cuMemFree(gone);
  EXPECT_EQ(launch(gone), CUDA_SUCCESS);
  EXPECT_EQ(Driver().cuStreamSynchronize(a.handle()), CUDA_ERROR_ILLEGAL_ADDRESS);
  fake::Reset();
  cuda::CudaDevice::Get(1).MakeCurrent();
  Driver().cuMemAlloc(&foreign, 64);
  device.MakeCurrent();
  EXPECT_EQ(launch(foreign), CUDA_SUCCESS);
  EXPECT_EQ(Driver().cuStreamSynchronize(a.handle()), CUDA_ERROR_ILLEGAL_ADDRESS);
  fake::Reset();
  Driver().cuMemFree(foreign);
}

TEST_F(FakeDriver, RefusesLaunchesThatNoDeviceTakes) {
  size_t bytes = 0;
  void* config[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &bytes, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes,
                    CU_LAUNCH_PARAM_END};
  const CUfunction fill = device.Kernel("fill/fill", "fill_4");
  const auto launch = [&](unsigned grid_y, unsigned block, unsigned shared, CUstream s) {
    return Driver().cuLaunchKernel(fill, 1, grid_y, 1, block, 1, 1, shared, s, nullptr, config);
  };
  EXPECT_EQ(launch(65536, 32, 0, a.handle()), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(launch(1, 0, 0, a.handle()), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(launch(1, 512, 0, a.handle()), CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
  EXPECT_EQ(launch(1, 32, 232449, a.handle()), CUDA_ERROR_INVALID_VALUE);
  const cuda::CudaStream other(cuda::CudaDevice::Get(1));
  EXPECT_EQ(launch(1, 32, 0, other.handle()), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(launch(1, 32, 0, a.handle()), CUDA_ERROR_INVALID_HANDLE);  // device 1 is current
  std::thread([&] { EXPECT_EQ(launch(1, 32, 0, a.handle()), CUDA_ERROR_INVALID_CONTEXT); }).join();
  device.MakeCurrent();
}

// Libraries such as cuDNN open the driver by name.
TEST_F(FakeDriver, IsTheDriverForWhoeverOpensItByName) {
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  ASSERT_NE(library, nullptr);
  EXPECT_NE(dlsym(library, "fake_cuda_count"), nullptr);
}

TEST_F(FakeDriver, FailsWhereItIsAskedTo) {
  fake::Fail("cuMemAlloc:2");
  CUdeviceptr p = 0;
  EXPECT_EQ(Driver().cuMemAlloc(&p, 4), CUDA_SUCCESS);
  EXPECT_EQ(Driver().cuMemFree(p), CUDA_SUCCESS);
  EXPECT_EQ(Driver().cuMemAlloc(&p, 4), CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(Driver().cuMemAlloc(&p, 4), CUDA_SUCCESS);
  EXPECT_EQ(Driver().cuMemFree(p), CUDA_SUCCESS);
}

TEST_F(FakeDriver, WorksFromSeveralThreads) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      cuda::CudaStream s(cuda::CudaDevice::Get(t % 2));
      void* p = CudaBackend()->Allocate(t % 2, 400);
      std::vector<char> out(400);
      for (int round = 0; round < 30; ++round) {
        const std::vector<char> in(400, static_cast<char>(10 * t + round));
        s.CopyToDevice(p, in.data(), in.size());
        s.CopyToHost(out.data(), p, out.size());
        s.Synchronize();
        ASSERT_EQ(in, out);
      }
      CudaBackend()->Free(t % 2, p, 400);
    });
  }
  for (std::thread& t : threads) t.join();
}

}  // namespace
}  // namespace ostria
