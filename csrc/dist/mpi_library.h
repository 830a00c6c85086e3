// SPDX-License-Identifier: Apache-2.0
// The transport over MPI, which is a library of its own: libostria_mpi.so needs Debian's
// libopenmpi3. It is opened when first used.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "dist/group.h"
#include "dist/key_values.h"

namespace ostria {

using MakeMpiFn = std::unique_ptr<Communicator> (*)(int rank, int size,
                                                    std::shared_ptr<KeyValues> key_values,
                                                    const GroupOptions& options);

/// Joins the group, whose ranks are those of MPI_COMM_WORLD: one per process. Blocks until all are
/// there. `key_values` carries who is there, and the reason when a rank ends the group. Throws
/// Error(kInvalidArgument) where rank or size are not MPI's, Error(kDistributed) that names who is
/// missing, or what the library lacks.
std::unique_ptr<Communicator> MakeMpi(int rank, int size, std::shared_ptr<KeyValues> key_values,
                                      const GroupOptions& options);

/// Opens the first of `paths` that can be opened. Throws Error(kDistributed): what was tried and
/// what to install, or both build ids.
MakeMpiFn LoadMpi(std::span<const std::string> paths);

}  // namespace ostria

extern "C" {
/// Of libostria_mpi.so: null where `build_id` is not its own, which it tells.
ostria::MakeMpiFn ostria_mpi_entry(const char* build_id, const char** own_build_id);
}
