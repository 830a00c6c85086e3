// SPDX-License-Identifier: Apache-2.0
// Loads libostria_cuda.so, which lies beside libostria.so.
#include "backend/load_library.h"

namespace ostria {
namespace {

constexpr const char* kLibrary = "libostria_cuda.so";

const OwnLibrary& Cuda() {
  static const auto* cuda = new OwnLibrary{
      "ostria_cuda_entry", ErrorCode::kDeviceUnavailable,
      StrCat("device 'cuda' needs ", kLibrary,
             ", which this installation lacks; install the package ostria-cuda of the same "
             "version, or build on a machine with nvcc")};
  return *cuda;
}

std::vector<std::string> CudaPaths() {
  // In a checkout; of the wheel ostria-cuda; on the loader's own path.
  const std::string own = OwnFolder();
  return {own + kLibrary, own + "../ostria_cuda/" + kLibrary, kLibrary};
}

std::vector<std::string>& Folders() {
  static auto* folders = new std::vector<std::string>;
  return *folders;
}

}  // namespace

void SetWheelFolders(std::vector<std::string> folders) { Folders() = std::move(folders); }
const std::vector<std::string>& WheelFolders() { return Folders(); }

Backend* LoadBackendLibrary(std::span<const std::string> paths) {
  return LoadOwnLibrary<Backend*>(Cuda(), paths);
}

Backend* LoadCudaBackend() { return LoadBackendLibrary(CudaPaths()); }

FoundLibrary FindCudaLibrary() {
  FoundLibrary found;
  try {
    LoadOwnLibrary<Backend*>(Cuda(), CudaPaths(), &found);
  } catch (const Error& e) {
    found.error = e.what();
  }
  return found;
}

}  // namespace ostria
