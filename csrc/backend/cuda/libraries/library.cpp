// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/libraries/library.h"

#include <dlfcn.h>
#include <glob.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>

#include "backend/load_library.h"
#include "base/error.h"

namespace ostria::cuda {
namespace {

std::vector<std::string> Glob(const std::string& pattern) {
  std::vector<std::string> out;
  glob_t found = {};
  if (::glob(pattern.c_str(), 0, nullptr, &found) == 0) {
    for (size_t i = 0; i < found.gl_pathc; ++i) out.emplace_back(found.gl_pathv[i]);
  }
  ::globfree(&found);
  return out;
}

// Wheels of NVIDIA's unpack into site-packages/nvidia/<library>/lib, those of CUDA 13 mostly into
// nvidia/cu13/lib. Our own library lies in site-packages/ostria, if it was not built in place.
std::vector<std::string> FoldersOfWheels(std::string_view file) {
  std::vector<std::string> roots = WheelFolders(), out;
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&LibraryFolders), &info) != 0 && info.dli_fname != nullptr) {
    const std::string path = info.dli_fname;
    const auto slash = path.rfind('/');
    if (slash != std::string::npos) roots.push_back(path.substr(0, slash) + "/..");
  }
  for (const std::string& root : roots) {
    // Folders without the file would only make the message longer.
    const std::string pattern = root + "/nvidia/*/lib/";
    const std::vector<std::string> found = Glob(pattern + std::string(file));
    for (const std::string& path : found) out.push_back(path.substr(0, path.size() - file.size()));
    if (found.empty()) out.push_back(pattern);
  }
  return out;
}

std::mutex loaded_mutex;
std::vector<LoadedLibrary>& Loaded() {
  static auto* loaded = new std::vector<LoadedLibrary>;
  return *loaded;
}

int PartsOf(const LibraryName& name) { return name.package.empty() ? 2 : 3; }

void Note(const LibraryName& name, const std::string& path, Version version, bool refused) {
  std::lock_guard lock(loaded_mutex);
  Loaded().push_back({std::string(name.what), path, version, refused});
}

std::string Remedy(const LibraryName& name) {
  return name.package.empty()
             ? std::string("update NVIDIA's driver (release 580 or later)")
             : StrCat("install it with `pip install --upgrade ", name.package, "`");
}

}  // namespace

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

std::vector<std::string> LibraryFolders(std::string_view file) {
  std::vector<std::string> folders;
  const std::string given = Environment("OSTRIA_CUDA_LIBRARIES");
  if (!given.empty()) folders.push_back(given + "/");
  if (file.starts_with("libcuda.so")) {  // it comes with the system, never in a wheel
    folders.emplace_back();
    folders.emplace_back("/usr/lib/wsl/lib/");
  } else {
    for (std::string& folder : FoldersOfWheels(file)) folders.push_back(std::move(folder));
    const std::string home = Environment("CUDA_HOME");
    for (const std::string& root : {home, std::string("/usr/local/cuda")}) {
      if (root.empty()) continue;
      folders.push_back(root + "/lib64/");
      folders.push_back(root + "/targets/x86_64-linux/lib/");
    }
    folders.emplace_back();
  }
  return folders;
}

std::string OpenDriverOrStub() {
  constexpr std::string_view kDriver = "libcuda.so.1";
  for (const std::string& folder : LibraryFolders(kDriver)) {
    const std::string path = folder + std::string(kDriver);
    if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr) return {};
  }
  for (const std::string& folder : LibraryFolders("libcudnn.so.9")) {
    if (folder.empty()) continue;
    const std::string path = folder + "stubs/libcuda.so";
    if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr) return {};
  }
  return "there is neither a driver nor the toolkit's stub of it";
}

Library::Library(const LibraryName& name) : name_(name) {
  std::string tried, other_version;
  for (const std::string& folder : LibraryFolders(name.file)) {
    path_ = folder + std::string(name.file);
    handle_ = dlopen(path_.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ == nullptr) {
      const char* why = dlerror();
      tried += StrCat("\n  ", path_, ": ", why == nullptr ? "refused without a reason" : why);
      if (!folder.empty() && ::access(path_.c_str(), F_OK) == 0) Note(name, path_, -1, true);
      continue;
    }
    // Where it was found by name alone, the loader knows the path.
    Dl_info info;
    void* any = name.symbol == nullptr ? nullptr : FindIfThere(name.symbol);
    if (folder.empty() && any != nullptr && dladdr(any, &info) != 0) path_ = info.dli_fname;
    const std::string refused = OtherVersion();
    Note(name, path_, version_, !refused.empty());
    if (refused.empty()) return;
    // Closed, or whoever opens it by name would get this one.
    dlclose(handle_);
    if (other_version.empty()) other_version = refused;
  }
  if (!other_version.empty()) Fail(ErrorCode::kDeviceUnavailable, other_version);
  Fail(ErrorCode::kDeviceUnavailable, "cuda: ", name.what, " (", name.file, ") was not found; ",
       name.package.empty() ? std::string("install NVIDIA's driver, or run on a machine with a GPU")
                            : StrCat("install it with `pip install ", name.package, "`"),
       ". Tried:", tried);
}

std::string Library::OtherVersion() {
  if (name_.found == nullptr) return {};
  version_ = name_.found(*this);
  constexpr Version kMajor = MakeVersion(1, 0);
  if (version_ >= name_.least && (!name_.same_major || version_ / kMajor == name_.least / kMajor)) {
    return {};
  }
  const int parts = PartsOf(name_);
  // A process that planned for a described GPU may have loaded it (OpenDriverOrStub).
  if (version_ < 0 && path_.find("/stubs/") != std::string::npos) {
    return StrCat("cuda: there is no driver, only the toolkit's stub of it (", path_,
                  "); install NVIDIA's driver, or run on a machine with a GPU");
  }
  return StrCat("cuda: ", path_, " is ", name_.what, " ",
                version_ < 0 ? std::string("of an unknown version") : VersionText(version_, parts),
                ", and this build needs ", NeededText(name_), "; ", Remedy(name_));
}

std::string NeededText(const LibraryName& name) {
  return StrCat(
      VersionText(name.least, PartsOf(name)), " or later",
      name.same_major ? StrCat(" within ", name.least / MakeVersion(1, 0), ".x") : std::string());
}

void* Library::FindIfThere(const char* symbol) const { return dlsym(handle_, symbol); }

void* Library::Find(const char* symbol) const {
  void* found = FindIfThere(symbol);
  if (found != nullptr) return found;
  const int parts = PartsOf(name_);
  Fail(ErrorCode::kDeviceUnavailable, "cuda: ", path_, " (", name_.what, " ",
       version_ < 0 ? std::string("of an unknown version") : VersionText(version_, parts),
       ") has no function ", symbol, "; this build needs ", VersionText(name_.least, parts),
       " or later; ", Remedy(name_));
}

std::string VersionText(Version version, int parts) {
  std::string out = StrCat(version / 1000000, ".", version / 1000 % 1000);
  if (parts > 2) out += StrCat(".", version % 1000);
  return out;
}

std::vector<LoadedLibrary> LoadedLibraries() {
  std::lock_guard lock(loaded_mutex);
  return Loaded();
}

}  // namespace ostria::cuda
