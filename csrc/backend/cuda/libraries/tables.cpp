// SPDX-License-Identifier: Apache-2.0
// The tables of functions, filled when first asked for.
#include "backend/cuda/libraries/cublaslt.h"
#include "backend/cuda/libraries/cudnn.h"
#include "backend/cuda/libraries/driver.h"
#include "backend/cuda/libraries/nccl.h"
#include "backend/cuda/libraries/nvrtc.h"
#include "base/error.h"

namespace ostria::cuda {

namespace {

// Calls function `symbol` of a library that is not loaded into a table yet.
template <class Fn>
Fn* Function(const Library& library, const char* symbol) {
  return reinterpret_cast<Fn*>(library.FindIfThere(symbol));
}

Version DriverVersion(const Library& library) {
  auto* get = Function<decltype(cuDriverGetVersion)>(library, "cuDriverGetVersion");
  int v = 0;
  if (get == nullptr || get(&v) != CUDA_SUCCESS) return -1;
  return MakeVersion(v / 1000, v % 1000 / 10);
}
Version CublasLtVersion(const Library& library) {
  auto* get = Function<decltype(cublasLtGetVersion)>(library, "cublasLtGetVersion");
  if (get == nullptr) return -1;
  const auto v = static_cast<int64_t>(get());
  return MakeVersion(v / 10000, v / 100 % 100, v % 100);
}
Version CudnnVersion(const Library& library) {
  auto* get = Function<decltype(cudnnGetVersion)>(library, "cudnnGetVersion");
  if (get == nullptr) return -1;
  const auto v = static_cast<int64_t>(get());
  // Before 9 a version had four digits.
  return v < 90000 ? MakeVersion(v / 1000, v / 100 % 10, v % 100)
                   : MakeVersion(v / 10000, v / 100 % 100, v % 100);
}
Version NvrtcVersion(const Library& library) {
  auto* get = Function<decltype(nvrtcVersion)>(library, "nvrtcVersion");
  int major = 0, minor = 0;
  if (get == nullptr || get(&major, &minor) != NVRTC_SUCCESS) return -1;
  return MakeVersion(major, minor);
}
Version NcclVersion(const Library& library) {
  auto* get = Function<decltype(ncclGetVersion)>(library, "ncclGetVersion");
  int v = 0;
  if (get == nullptr || get(&v) != ncclSuccess) return -1;
  return MakeVersion(v / 10000, v / 100 % 100, v % 100);
}

// These open others by name alone, and get those that are loaded already: the ones that we chose,
// wherever they lie. What fails here is told by whoever needs it.
template <class... Tables>
void LoadFirst(Tables... tables) {
  const auto load = [](auto table) {
    try {
      table();
    } catch (const Error&) {
    }
  };
  (load(tables), ...);
}

}  // namespace

// The functions of a library's interface are those of its header; a table that throws while it is
// made is tried again by the next caller.
#define OSTRIA_DEFINE_TABLE(name, functions, first, ...)          \
  const LibraryName k##name##Library = {__VA_ARGS__};             \
  const name##Table& name() {                                     \
    static const name##Table* const made = [] {                   \
      first;                                                      \
      const Library library(k##name##Library);                    \
      name##Table table;                                          \
      functions(OSTRIA_TABLE_LOAD) return new name##Table(table); \
    }();                                                          \
    return *made;                                                 \
  }

OSTRIA_DEFINE_TABLE(Driver, OSTRIA_DRIVER_FUNCTIONS, , "the NVIDIA driver for CUDA", "libcuda.so.1",
                    "", "cuDriverGetVersion", DriverVersion, MakeVersion(13, 0), false)
OSTRIA_DEFINE_TABLE(Nvrtc, OSTRIA_NVRTC_FUNCTIONS, , "NVRTC", "libnvrtc.so.13", "nvidia-cuda-nvrtc",
                    "nvrtcVersion", NvrtcVersion, MakeVersion(13, 0))
OSTRIA_DEFINE_TABLE(CublasLt, OSTRIA_CUBLASLT_FUNCTIONS, LoadFirst(Driver), "cuBLASLt",
                    "libcublasLt.so.13", "nvidia-cublas", "cublasLtGetVersion", CublasLtVersion,
                    MakeVersion(13, 0))
OSTRIA_DEFINE_TABLE(Cudnn, OSTRIA_CUDNN_FUNCTIONS, LoadFirst(Driver, Nvrtc, CublasLt), "cuDNN",
                    "libcudnn.so.9", "nvidia-cudnn-cu13", "cudnnGetVersion", CudnnVersion,
                    MakeVersion(9, 11))
OSTRIA_DEFINE_TABLE(Nccl, OSTRIA_NCCL_FUNCTIONS, LoadFirst(Driver), "NCCL", "libnccl.so.2",
                    "nvidia-nccl-cu13", "ncclGetVersion", NcclVersion, MakeVersion(2, 20))

void CheckCublasLt(cublasStatus_t status, std::string_view what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  Fail(ErrorCode::kInternal, "cuBLASLt: ", what,
       " failed: ", CublasLt().cublasLtGetStatusString(status));
}

void CheckCudnn(cudnnStatus_t status, std::string_view what) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char text[1024] = {};
  Cudnn().cudnnGetLastErrorString(text, sizeof text);
  Fail(ErrorCode::kInternal, "cuDNN: ", what, " failed: ", Cudnn().cudnnGetErrorString(status), " ",
       text);
}

void CheckNvrtc(nvrtcResult result, std::string_view what) {
  if (result == NVRTC_SUCCESS) return;
  Fail(ErrorCode::kInternal, "NVRTC: ", what, " failed: ", Nvrtc().nvrtcGetErrorString(result));
}

void CheckNccl(ncclResult_t result, std::string_view what) {
  if (result == ncclSuccess) return;
  Fail(ErrorCode::kDistributed, "NCCL: ", what, " failed: ", Nccl().ncclGetErrorString(result));
}

}  // namespace ostria::cuda
