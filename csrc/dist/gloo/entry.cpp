// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "backend/build_id.h"
#include "dist/gloo/gloo_communicator.h"
#include "dist/gloo_library.h"

extern "C" ostria::MakeGlooFn ostria_gloo_entry(const char* build_id, const char** own_build_id) {
  *own_build_id = ostria::kBuildId;
  return std::strcmp(build_id, ostria::kBuildId) == 0 ? &ostria::MakeGlooCommunicator : nullptr;
}
