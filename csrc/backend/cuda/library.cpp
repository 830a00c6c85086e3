// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/library.h"

#include <dlfcn.h>
#include <glob.h>

#include <cstdlib>

#include "base/error.h"

namespace ostria::cuda {
namespace {

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

std::vector<std::string> Glob(const std::string& pattern) {
  std::vector<std::string> out;
  glob_t found = {};
  if (::glob(pattern.c_str(), 0, nullptr, &found) == 0) {
    for (size_t i = 0; i < found.gl_pathc; ++i) out.emplace_back(found.gl_pathv[i]);
  }
  ::globfree(&found);
  return out;
}

// Wheels of NVIDIA's unpack into site-packages/nvidia/<library>/lib; this file's library lies in
// site-packages/ostria, or the package adds the folders of the running Python.
std::vector<std::string> WheelFolders() {
  std::vector<std::string> roots;
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&Environment), &info) != 0 && info.dli_fname != nullptr) {
    const std::string path = info.dli_fname;
    const auto slash = path.rfind('/');
    if (slash != std::string::npos) roots.push_back(path.substr(0, slash) + "/../nvidia");
  }
  const std::string listed = Environment("OSTRIA_WHEEL_FOLDERS");  // set by the package on import
  for (size_t begin = 0; begin < listed.size();) {
    const size_t end = std::min(listed.find(':', begin), listed.size());
    if (end > begin) roots.push_back(listed.substr(begin, end - begin) + "/nvidia");
    begin = end + 1;
  }
  std::vector<std::string> out;
  for (const std::string& root : roots) {
    for (const std::string& folder : Glob(root + "/*/lib")) out.push_back(folder + "/");
  }
  return out;
}

}  // namespace

std::vector<std::string> LibraryFolders(std::string_view file) {
  std::vector<std::string> folders;
  const std::string given = Environment("OSTRIA_CUDA_LIBRARIES");
  if (!given.empty()) folders.push_back(given + "/");
  if (!file.starts_with("libcuda.so")) {  // the driver comes with the system, never in a wheel
    for (std::string& folder : WheelFolders()) folders.push_back(std::move(folder));
    const std::string home = Environment("CUDA_HOME");
    for (const std::string& root : {home, std::string("/usr/local/cuda")}) {
      if (root.empty()) continue;
      folders.push_back(root + "/lib64/");
      folders.push_back(root + "/targets/x86_64-linux/lib/");
    }
  }
  folders.emplace_back();
  return folders;
}

Library::Library(const LibraryName& name) : name_(name) {
  std::string tried;
  for (const std::string& folder : LibraryFolders(name.file)) {
    const std::string path = folder + std::string(name.file);
    handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) {
      path_ = path;
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

void* Library::Find(const char* symbol) const {
  void* found = dlsym(handle_, symbol);
  if (found != nullptr) return found;
  Fail(ErrorCode::kDeviceUnavailable, "cuda: ", path_, " has no function ", symbol,
       ", so it is another version of ", name_.what, " than this build was made for; ",
       name_.package.empty()
           ? std::string("update NVIDIA's driver")
           : StrCat("install it with `pip install --upgrade ", name_.package, "`"));
}

}  // namespace ostria::cuda
