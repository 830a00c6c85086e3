// SPDX-License-Identifier: Apache-2.0
// The tables of functions, filled when first asked for.
#include "backend/cuda/cublaslt.h"
#include "backend/cuda/cudnn.h"
#include "backend/cuda/driver.h"
#include "backend/cuda/nccl.h"
#include "backend/cuda/nvrtc.h"
#include "base/error.h"

namespace ostria::cuda {

// The functions of a library's interface are those of its header; a table that throws while it is
// made is tried again by the next caller.
#define OSTRIA_DEFINE_TABLE(name, functions, ...)                 \
  const name##Table& name() {                                     \
    static const name##Table* const made = [] {                   \
      const Library library(LibraryName{__VA_ARGS__});            \
      name##Table table;                                          \
      functions(OSTRIA_TABLE_LOAD) return new name##Table(table); \
    }();                                                          \
    return *made;                                                 \
  }

OSTRIA_DEFINE_TABLE(Driver, OSTRIA_DRIVER_FUNCTIONS, "the NVIDIA driver", "libcuda.so.1", "")
OSTRIA_DEFINE_TABLE(CublasLt, OSTRIA_CUBLASLT_FUNCTIONS, "cuBLASLt", "libcublasLt.so.13",
                    "nvidia-cublas")
OSTRIA_DEFINE_TABLE(Cudnn, OSTRIA_CUDNN_FUNCTIONS, "cuDNN", "libcudnn.so.9", "nvidia-cudnn-cu13")
OSTRIA_DEFINE_TABLE(Nvrtc, OSTRIA_NVRTC_FUNCTIONS, "NVRTC", "libnvrtc.so.13", "nvidia-cuda-nvrtc")
OSTRIA_DEFINE_TABLE(Nccl, OSTRIA_NCCL_FUNCTIONS, "NCCL", "libnccl.so.2", "nvidia-nccl-cu13")

void CheckDriver(CUresult result, std::string_view what) {
  if (result == CUDA_SUCCESS) return;
  const char *name = nullptr, *text = nullptr;
  Driver().cuGetErrorName(result, &name);
  Driver().cuGetErrorString(result, &text);
  Fail(result == CUDA_ERROR_OUT_OF_MEMORY ? ErrorCode::kOutOfMemory : ErrorCode::kInternal,
       "cuda: ", what, " failed: ", text == nullptr ? "unknown error" : text, " (",
       name == nullptr ? StrCat("code ", static_cast<int>(result)) : std::string(name), ")");
}

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
