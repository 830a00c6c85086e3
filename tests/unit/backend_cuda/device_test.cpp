// SPDX-License-Identifier: Apache-2.0
// Devices as plans and people see them, and what is said where CUDA cannot be used.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "backend/backend.h"
#include "backend/cuda/launch/launch.h"
#include "backend_cuda/child.h"
#include "kernels/fill/fill.h"

namespace ostria {

Backend* CudaBackend();

namespace {

void ExpectParts(const std::string& text, std::initializer_list<const char*> parts) {
  for (const char* part : parts) {
    EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in: " << text;
  }
}

TEST(CudaDevice, PropertiesAreWhatPlansNeed) {
  const DeviceProps p = CudaBackend()->Props(0);
  EXPECT_EQ(p.name, "cuda:sm_90");
  EXPECT_EQ(p.compute_capability, 90);
  EXPECT_EQ(p.multiprocessors, 4);
  EXPECT_EQ(p.shared_bytes, 232448);
  EXPECT_EQ(p.l2_bytes, 52428800);
  EXPECT_EQ(p.memory_limit, 0);
  // Word for word what cuDNN's device properties take; the name holds quotes.
  EXPECT_EQ(p.description,
            "{\"maxGridSize\":[2147483647,65535,65535],\"maxBlockSize\":[1024,1024,64],"
            "\"regsPerBlock\":65536,\"multiProcessorCount\":4,\"warpSize\":32,"
            "\"maxSharedMemoryPerBlock\":49152,\"maxSharedMemoryPerBlockOptin\":232448,"
            "\"reservedSharedMemoryPerBlock\":1024,\"maxRegistersPerSM\":65536,"
            "\"maxCtasPerSM\":32,\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":2048,"
            "\"isTccDriver\":0,\"supportCoopLaunch\":1,\"smClockRateKHz\":1980000,"
            "\"memClockRateKHz\":2619000,\"l2CacheSize\":52428800,"
            "\"deviceName\":\"Fake H100 \\\"on the host\\\"\",\"deviceVer\":900,"
            "\"driverVer\":13000,\"driverVersion\":13000,\"pciDeviceId\":0,\"cudaDeviceId\":0,"
            "\"totalGlobalMem\":8589934592}");
  EXPECT_TRUE(p == CudaBackend()->Props(1));  // replicas share plans
}

TEST(CudaDevice, SaysWhichDevicesThereAre) {
  try {
    CudaBackend()->Props(2);
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kDeviceUnavailable);
    EXPECT_EQ(std::string(e.what()),
              "device 'cuda:2' does not exist; there are 2, numbered from 0");
  }
}

TEST(CudaChild, DISABLED_OpensADevice) {
  PrintError([] { CudaBackend()->Props(0); });
}

TEST(CudaDevice, SaysWhyThereIsNone) {
  const char* const open = "CudaChild.DISABLED_OpensADevice";
  EXPECT_EQ(ErrorOfChild("FAKE_CUDA_DEVICES=1", open), "");
  ExpectParts(ErrorOfChild("FAKE_CUDA_DEVICES=0 CUDA_VISIBLE_DEVICES=7", open),
              {"the driver sees no GPU", "CUDA_VISIBLE_DEVICES is '7'", "unset it"});
  ExpectParts(ErrorOfChild("-u CUDA_VISIBLE_DEVICES FAKE_CUDA_DEVICES=0", open),
              {"the driver sees no GPU", "CUDA_VISIBLE_DEVICES is not set", "nvidia-smi"});
  ExpectParts(ErrorOfChild("FAKE_CUDA_VERSION=12040", open),
              {"the NVIDIA driver for CUDA 12.4", "needs 13.0 or later", "update NVIDIA's driver"});
  EXPECT_EQ(ErrorOfChild("FAKE_CUDA_VERSION=14020", open), "");  // they run older programs
  ExpectParts(ErrorOfChild("FAKE_CUDA_CAPABILITY=80", open),
              {"'cuda:0' (Fake H100", "compute capability 8.0", "are for 9.0",
               "-DOSTRIA_CUDA_ARCHITECTURES=80"});
  ExpectParts(ErrorOfChild("FAKE_CUDA_CAPABILITY=100", open),
              {"compute capability 10.0", "are for 9.0"});
  ExpectParts(ErrorOfChild("FAKE_CUDA_FAIL=cuInit:1:999", open),
              {"the driver does not start", "nvidia-smi"});
  ExpectParts(ErrorOfChild("OSTRIA_CUDA_LIBRARIES=/nowhere", open),
              {"libcuda.so.1) was not found", "install NVIDIA's driver",
               "Tried:", "\n  /nowhere/libcuda.so.1: "});
}

TEST(CudaDevice, AForkedProcessIsToldSo) {
  CudaBackend()->Props(0);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    std::string text = "nothing was thrown";
    try {
      CudaBackend()->MakeStream(0);
    } catch (const Error& e) {
      text = e.what();
    }
    const ssize_t written = write(ends[1], text.data(), text.size());
    _exit(written < 0 ? 1 : 0);
  }
  close(ends[1]);
  std::string text(4096, '\0');
  text.resize(static_cast<size_t>(std::max<ssize_t>(0, read(ends[0], text.data(), text.size()))));
  close(ends[0]);
  waitpid(child, nullptr, 0);
  ExpectParts(text, {"forked from one that uses CUDA", "'spawn'"});
}

// The first failure of a process is part of every later one, so each test has a process.
TEST(CudaChild, DISABLED_FailsInAKernel) {
  cuda::CudaStream stream(cuda::CudaDevice::Get(0));
  CUdeviceptr gone = 0;
  cuda::Driver().cuMemAlloc(&gone, 64);
  cuda::Driver().cuMemFree(gone);
  const kernels::FillParams params{reinterpret_cast<void*>(gone), 4, 0};
  cuda::LaunchKernel(stream, stream.cuda().Kernel("fill/fill", "fill_4"), {}, &params,
                     sizeof params);
  PrintError([&] { stream.Synchronize(); });
  // Every later call says so too, and destructors do not throw.
  EXPECT_THROW(stream.CopyToDevice(reinterpret_cast<void*>(gone), &params, 4), Error);
}

TEST(CudaDevice, AFailureOfTheDeviceNamesWhatWasLaunchedLast) {
  ExpectParts(ErrorOfChild("", "CudaChild.DISABLED_FailsInAKernel"),
              {"CUDA_ERROR_ILLEGAL_ADDRESS", "kernel fill_4 of fill/fill", "restart it",
               "CUDA_LAUNCH_BLOCKING=1"});
}

TEST(CudaChild, DISABLED_FailsInAReplay) {
  cuda::CudaStream stream(cuda::CudaDevice::Get(0));
  CUdeviceptr gone = 0;
  cuda::Driver().cuMemAlloc(&gone, 64);
  stream.BeginCapture();
  const int64_t value = 0;
  stream.CopyToDevice(reinterpret_cast<void*>(gone), &value, 8);
  stream.CopyToDevice(reinterpret_cast<void*>(gone), &value, 8);
  const auto recording = stream.EndCapture();
  cuda::Driver().cuMemFree(gone);
  recording->Launch(stream);
  PrintError([&] { stream.Record()->Wait(); });
}

TEST(CudaDevice, AFailureOfAReplayNamesTheStep) {
  ExpectParts(ErrorOfChild("", "CudaChild.DISABLED_FailsInAReplay"),
              {"CUDA_ERROR_ILLEGAL_ADDRESS", "a captured step of 2 nodes"});
}

TEST(CudaDevice, DescribesTheInstallation) {
  const auto lines = CudaBackend()->Describe();
  const auto text = [&](const std::string& title) {
    for (const Diagnosis& d : lines) {
      if (d.title == title) return d.text;
    }
    return "no line " + title;
  };
  ExpectParts(text("the NVIDIA driver for CUDA"), {"13.0 in ", "/libcuda.so.1"});
  ExpectParts(text("kernels"), {"files, for compute capability 9.0"});
  EXPECT_EQ(text("devices"), "2");
  ExpectParts(text("cuda:1"),
              {"Fake H100", "compute capability 9.0", "8.00 GiB", "4 multiprocessors"});
  for (const char* library : {"cuBLASLt", "cuDNN", "NVRTC", "NCCL"}) {
    EXPECT_NE(text(library), "no line " + std::string(library));
  }
}

TEST(CudaChild, DISABLED_Describes) {
  std::printf("<<<");
  constexpr const char* kStates[] = {"works", "missing", "broken"};
  for (const Diagnosis& d : CudaBackend()->Describe()) {
    std::printf("%s %s: %s (needs %s, found %s)\n", d.title.c_str(),
                kStates[static_cast<int>(d.state)], d.text.c_str(), d.needed.c_str(),
                d.found.c_str());
  }
  std::printf(">>>\n");
}

TEST(CudaDevice, ADescriptionSaysWhatFailed) {
  const char* const describe = "CudaChild.DISABLED_Describes";
  ExpectParts(ErrorOfChild("FAKE_CUDA_DEVICES=0", describe),
              {"driver for CUDA works: 13.0 in", "devices broken: cuda: the driver sees no GPU"});
  ExpectParts(ErrorOfChild("FAKE_CUDA_DEVICES=0 CUDA_VISIBLE_DEVICES=", describe),
              {"devices missing: cuda: the driver sees no GPU"});
  ExpectParts(ErrorOfChild("FAKE_CUDA_VERSION=12040", describe),
              {"driver for CUDA broken: cuda: ", "needs 13.0 or later, found 12.4)"});
  ExpectParts(
      ErrorOfChild("FAKE_CUDA_CAPABILITY=75", describe),
      {"devices works: 2", "cuda:1 broken: device 'cuda:1' (Fake H100", "compute capability 7.5"});
  ExpectParts(ErrorOfChild("OSTRIA_CUDA_LIBRARIES=/nowhere", describe),
              {"driver for CUDA missing: cuda: ", "devices missing: none without the driver"});
}

}  // namespace
}  // namespace ostria
