// SPDX-License-Identifier: Apache-2.0
// Loads libostria_cuda.so, which lies beside libostria.so, through its one C symbol. Both must come
// from the same build: behind the symbol are C++ interfaces.
#include <dlfcn.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/build_id.h"

namespace ostria {
namespace {

constexpr const char* kLibrary = "libostria_cuda.so";

// Of this very code, wherever it was installed.
std::string OwnFolder() {
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&OwnFolder), &info) == 0 || info.dli_fname == nullptr)
    return {};
  const std::string path = info.dli_fname;
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash + 1);
}

}  // namespace

Backend* LoadCudaBackend() {
  std::string tried;
  void* library = nullptr;
  // In a checkout; of the wheel ostria-cuda; on the loader's own path.
  const std::string own = OwnFolder();
  for (const std::string& path :
       {own + kLibrary, own + "../ostria_cuda/" + kLibrary, std::string(kLibrary)}) {
    library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) break;
    const char* why = dlerror();
    tried += StrCat("\n  ", path, ": ", why == nullptr ? "refused without a reason" : why);
  }
  if (library == nullptr) {
    Fail(ErrorCode::kDeviceUnavailable, "device 'cuda' needs ", kLibrary,
         ", which this installation lacks; install the package ostria-cuda of the same version, or "
         "build on a machine with nvcc. Tried:",
         tried);
  }
  using Entry = Backend* (*)(const char* build_id, const char** other_build_id);
  const auto entry = reinterpret_cast<Entry>(dlsym(library, "ostria_cuda_entry"));
  const char* other = nullptr;
  Backend* const backend = entry == nullptr ? nullptr : entry(kBuildId, &other);
  if (backend == nullptr) {
    Fail(ErrorCode::kDeviceUnavailable, kLibrary, " is of another build (",
         other ? other : "unknown", ") than libostria.so (", kBuildId,
         "); install both from the same release");
  }
  return backend;
}

}  // namespace ostria
