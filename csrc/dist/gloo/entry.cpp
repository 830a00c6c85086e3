// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "backend/build_id.h"
#include "dist/gloo/gloo_wire.h"
#include "dist/gloo_library.h"
#include "dist/wired.h"

namespace ostria {
namespace {

std::unique_ptr<Communicator> Make(int rank, int size, std::shared_ptr<KeyValues> key_values,
                                   const GlooOptions& options) {
  return MakeWired("gloo", std::make_unique<GlooWire>(rank, size, std::move(key_values), options));
}

}  // namespace
}  // namespace ostria

extern "C" ostria::MakeGlooFn ostria_gloo_entry(const char* build_id, const char** own_build_id) {
  *own_build_id = ostria::kBuildId;
  return std::strcmp(build_id, ostria::kBuildId) == 0 ? &ostria::Make : nullptr;
}
