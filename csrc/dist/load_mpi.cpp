// SPDX-License-Identifier: Apache-2.0
// Loads libostria_mpi.so, which lies beside libostria.so.
#include "backend/load_library.h"
#include "dist/mpi_library.h"

namespace ostria {
namespace {

constexpr const char* kLibrary = "libostria_mpi.so";

}  // namespace

MakeMpiFn LoadMpi(std::span<const std::string> paths) {
  static const auto* mpi = new OwnLibrary{
      "ostria_mpi_entry", ErrorCode::kDistributed,
      StrCat("the transport 'mpi' needs ", kLibrary,
             " and Open MPI itself: `apt-get install openmpi-bin libopenmpi3`; where ", kLibrary,
             " is missing, install libopenmpi-dev and build Ostria again")};
  return LoadOwnLibrary<MakeMpiFn>(*mpi, paths);
}

std::unique_ptr<Communicator> MakeMpi(int rank, int size, std::shared_ptr<KeyValues> key_values,
                                      const GroupOptions& options) {
  const std::string paths[] = {OwnFolder() + kLibrary, kLibrary};
  static const MakeMpiFn make = LoadMpi(paths);
  return make(rank, size, std::move(key_values), options);
}

}  // namespace ostria
