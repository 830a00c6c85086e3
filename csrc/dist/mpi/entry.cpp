// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "backend/build_id.h"
#include "dist/mpi/mpi_wire.h"
#include "dist/mpi_library.h"
#include "dist/wired.h"

namespace ostria {
namespace {

std::unique_ptr<Communicator> Make(int rank, int size, std::shared_ptr<KeyValues> key_values,
                                   const GroupOptions& options) {
  return MakeWired("mpi", std::make_unique<MpiWire>(rank, size, std::move(key_values), options));
}

}  // namespace
}  // namespace ostria

extern "C" ostria::MakeMpiFn ostria_mpi_entry(const char* build_id, const char** own_build_id) {
  *own_build_id = ostria::kBuildId;
  return std::strcmp(build_id, ostria::kBuildId) == 0 ? &ostria::Make : nullptr;
}
