// SPDX-License-Identifier: Apache-2.0
// Loads libostria_gloo.so, which lies beside libostria.so.
#include "backend/load_library.h"
#include "dist/gloo_library.h"

namespace ostria {
namespace {

constexpr const char* kLibrary = "libostria_gloo.so";

}  // namespace

MakeGlooFn LoadGloo(std::span<const std::string> paths) {
  static const auto* gloo =
      new OwnLibrary{"ostria_gloo_entry", ErrorCode::kDistributed,
                     StrCat("the transport 'gloo' needs ", kLibrary,
                            " and Gloo itself: `apt-get install libgloo0`; where ", kLibrary,
                            " is missing, install libgloo-dev and build Ostria again")};
  return LoadOwnLibrary<MakeGlooFn>(*gloo, paths);
}

std::string GlooPrefix(const GlooOptions& options) { return StrCat(options.key, "/gloo"); }

std::unique_ptr<Communicator> MakeGloo(int rank, int size, std::shared_ptr<KeyValues> key_values,
                                       const GlooOptions& options) {
  const std::string paths[] = {OwnFolder() + kLibrary, kLibrary};
  static const MakeGlooFn make = LoadGloo(paths);
  return make(rank, size, std::move(key_values), options);
}

}  // namespace ostria
