// SPDX-License-Identifier: Apache-2.0
// Loads libostria_gloo.so, which lies beside libostria.so.
#include <dlfcn.h>

#include "backend/build_id.h"
#include "base/error.h"
#include "dist/gloo_library.h"

namespace ostria {
namespace {

constexpr const char* kLibrary = "libostria_gloo.so";

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

MakeGlooFn LoadGloo(std::span<const std::string> paths) {
  std::string tried, found;
  void* library = nullptr;
  for (const std::string& path : paths) {
    library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) {
      found = path;
      break;
    }
    const char* why = dlerror();
    tried += StrCat("\n  ", path, ": ", why == nullptr ? "refused without a reason" : why);
  }
  if (library == nullptr) {
    Fail(ErrorCode::kDistributed, "the transport 'gloo' needs ", kLibrary,
         " and Gloo itself: `apt-get install libgloo0`; where ", kLibrary,
         " is missing, install libgloo-dev and build Ostria again. Tried:", tried);
  }
  using Entry = MakeGlooFn (*)(const char* build_id, const char** own_build_id);
  const auto entry = reinterpret_cast<Entry>(dlsym(library, "ostria_gloo_entry"));
  const char* own = nullptr;
  const MakeGlooFn make = entry == nullptr ? nullptr : entry(kBuildId, &own);
  if (make == nullptr) {
    Fail(ErrorCode::kDistributed, found, " is of another build (", own == nullptr ? "unknown" : own,
         ") than libostria.so (", kBuildId, "); install both from the same release");
  }
  return make;
}

std::string GlooAbortKey(const GlooOptions& options) { return StrCat(options.key, "/gloo/abort"); }
void AbortGloo(KeyValues& key_values, const GlooOptions& options, const std::string& why) {
  const std::string key = GlooAbortKey(options);
  try {
    if (!key_values.Get(key, std::chrono::milliseconds(0))) key_values.Set(key, why);
  } catch (const Error&) {  // the store is gone too; whoever keeps it says why
  }
}

std::unique_ptr<Communicator> MakeGloo(int rank, int size, std::shared_ptr<KeyValues> key_values,
                                       const GlooOptions& options) {
  const std::string paths[] = {OwnFolder() + kLibrary, kLibrary};
  static const MakeGlooFn make = LoadGloo(paths);
  return make(rank, size, std::move(key_values), options);
}

}  // namespace ostria
