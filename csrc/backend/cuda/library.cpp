// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/library.h"

#include <dlfcn.h>
#include <glob.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>

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
// nvidia/cu13/lib. This file's library lies in site-packages/ostria, or the package lists the
// folders of the running Python.
std::vector<std::string> WheelFolders(std::string_view file) {
  std::vector<std::string> roots;
  const std::string listed = Environment("OSTRIA_WHEEL_FOLDERS");  // set by the package on import
  for (size_t begin = 0; begin < listed.size();) {
    const size_t end = std::min(listed.find(':', begin), listed.size());
    if (end > begin) roots.push_back(listed.substr(begin, end - begin) + "/nvidia");
    begin = end + 1;
  }
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&LibraryFolders), &info) != 0 && info.dli_fname != nullptr) {
    const std::string path = info.dli_fname;
    const auto slash = path.rfind('/');
    if (slash != std::string::npos) roots.push_back(path.substr(0, slash) + "/../nvidia");
  }
  std::vector<std::string> out;
  for (const std::string& root : roots) {
    // Only where the file is: every folder is a line of the message when nothing is found.
    for (const std::string& found : Glob(root + "/*/lib/" + std::string(file))) {
      out.push_back(found.substr(0, found.size() - file.size()));
    }
    if (out.empty()) out.push_back(root + "/*/lib/");
  }
  return out;
}

std::mutex loaded_mutex;
std::vector<LoadedLibrary>& Loaded() {
  static auto* loaded = new std::vector<LoadedLibrary>;
  return *loaded;
}

int PartsOf(const LibraryName& name) { return name.package.empty() ? 2 : 3; }

std::string Remedy(const LibraryName& name, std::string_view verb) {
  return name.package.empty() ? std::string("update NVIDIA's driver (release 580 or later)")
                              : StrCat(verb, " `pip install --upgrade ", name.package, "`");
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
    for (std::string& folder : WheelFolders(file)) folders.push_back(std::move(folder));
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

Library::Library(const LibraryName& name) : name_(name) {
  std::string tried;
  for (const std::string& folder : LibraryFolders(name.file)) {
    const std::string path = folder + std::string(name.file);
    handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) {
      path_ = path;
      // The loader's own idea of it, where it was found by name.
      Dl_info info;
      void* any = name.found == nullptr ? nullptr : FindIfThere(name.symbol);
      if (any != nullptr && dladdr(any, &info) != 0) path_ = info.dli_fname;
      CheckVersion();
      return;
    }
    const char* why = dlerror();
    tried += StrCat("\n  ", path, ": ", why == nullptr ? "refused without a reason" : why);
  }
  Fail(ErrorCode::kDeviceUnavailable, "cuda: ", name.what, " (", name.file, ") was not found; ",
       name.package.empty() ? StrCat("install NVIDIA's driver, or run on a machine with a GPU")
                            : StrCat("install it with `pip install ", name.package, "`"),
       ". Tried:", tried);
}

void Library::CheckVersion() {
  if (name_.found != nullptr) version_ = name_.found(*this);
  const int parts = PartsOf(name_);
  constexpr Version kMajor = MakeVersion(1, 0);
  const bool fits =
      name_.found == nullptr ||
      (version_ >= name_.least && (!name_.same_major || version_ / kMajor == name_.least / kMajor));
  if (!fits) {
    Fail(ErrorCode::kDeviceUnavailable, "cuda: ", path_, " is ", name_.what, " ",
         version_ < 0 ? std::string("of an unknown version") : VersionText(version_, parts),
         ", and this build needs ", VersionText(name_.least, parts), " or later",
         name_.same_major ? StrCat(" within ", name_.least / kMajor, ".x") : std::string(), "; ",
         Remedy(name_, "install it with"));
  }
  std::lock_guard lock(loaded_mutex);
  Loaded().push_back({std::string(name_.what), path_, version_});
}

void* Library::FindIfThere(const char* symbol) const { return dlsym(handle_, symbol); }

void* Library::Find(const char* symbol) const {
  void* found = FindIfThere(symbol);
  if (found != nullptr) return found;
  const int parts = PartsOf(name_);
  Fail(ErrorCode::kDeviceUnavailable, "cuda: ", path_, " (", name_.what, " ",
       version_ < 0 ? std::string("of an unknown version") : VersionText(version_, parts),
       ") has no function ", symbol, "; this build needs ", VersionText(name_.least, parts),
       " or later: ", Remedy(name_, "install it with"));
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
