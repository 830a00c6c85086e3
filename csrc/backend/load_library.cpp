// SPDX-License-Identifier: Apache-2.0
#include "backend/load_library.h"

#include <dlfcn.h>
#include <unistd.h>

#include "backend/build_id.h"

namespace ostria {

std::string_view OwnBuildId() { return kBuildId; }

std::string OwnFolder() {
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&OwnFolder), &info) == 0 || info.dli_fname == nullptr)
    return {};
  const std::string path = info.dli_fname;
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash + 1);
}

void* OpenOwnLibrary(const OwnLibrary& library, std::span<const std::string> paths,
                     FoundLibrary* found) {
  std::string tried;
  for (const std::string& path : paths) {
    if (void* const opened = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
      found->path = path;
      return dlsym(opened, library.entry);
    }
    const char* why = dlerror();
    tried += StrCat("\n  ", path, ": ", why == nullptr ? "refused without a reason" : why);
    // One that is there and does not load is what a diagnosis is about.
    if (found->path.empty() && ::access(path.c_str(), F_OK) == 0) found->path = path;
  }
  Fail(library.code, library.lacking, ". Tried:", tried);
}

void RefuseBuild(const OwnLibrary& library, const FoundLibrary& found) {
  Fail(library.code, found.path, " is of another build (", found.build_id, ") than libostria.so (",
       kBuildId, "); install both from the same release");
}

}  // namespace ostria
