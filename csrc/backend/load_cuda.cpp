// SPDX-License-Identifier: Apache-2.0
// Loads libostria_cuda.so, which lies beside libostria.so.
#include <dlfcn.h>
#include <unistd.h>

#include "backend/build_id.h"
#include "backend/load_library.h"

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

std::vector<std::string>& Folders() {
  static auto* folders = new std::vector<std::string>;
  return *folders;
}

}  // namespace

void SetWheelFolders(std::vector<std::string> folders) { Folders() = std::move(folders); }
const std::vector<std::string>& WheelFolders() { return Folders(); }

std::string_view OwnBuildId() { return kBuildId; }

namespace {

// Opens the first of `paths` that can be opened; `found` is told what there is, errors are thrown.
Backend* Open(std::span<const std::string> paths, FoundLibrary* found) {
  std::string tried;
  void* library = nullptr;
  for (const std::string& path : paths) {
    library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) {
      found->path = path;
      break;
    }
    const char* why = dlerror();
    tried += StrCat("\n  ", path, ": ", why == nullptr ? "refused without a reason" : why);
    // One that is there and does not load is what a diagnosis is about.
    if (found->path.empty() && ::access(path.c_str(), F_OK) == 0) found->path = path;
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
  found->build_id = other == nullptr ? "unknown" : other;
  if (backend == nullptr) {
    Fail(ErrorCode::kDeviceUnavailable, found->path, " is of another build (", found->build_id,
         ") than libostria.so (", kBuildId, "); install both from the same release");
  }
  return backend;
}

std::vector<std::string> CudaPaths() {
  // In a checkout; of the wheel ostria-cuda; on the loader's own path.
  const std::string own = OwnFolder();
  return {own + kLibrary, own + "../ostria_cuda/" + kLibrary, kLibrary};
}

}  // namespace

Backend* LoadBackendLibrary(std::span<const std::string> paths) {
  FoundLibrary found;
  return Open(paths, &found);
}

Backend* LoadCudaBackend() { return LoadBackendLibrary(CudaPaths()); }

FoundLibrary FindCudaLibrary() {
  FoundLibrary found;
  try {
    Open(CudaPaths(), &found);
  } catch (const Error& e) {
    found.error = e.what();
  }
  return found;
}

}  // namespace ostria
