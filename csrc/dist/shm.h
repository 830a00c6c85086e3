// SPDX-License-Identifier: Apache-2.0
// The transport between processes of one host: each rank has two small buffers in memory that all
// map, reduces a slice of what lies there, and puts its result back. Bits are those of `local`.
#pragma once

#include <memory>

#include "dist/group.h"
#include "dist/key_values.h"

namespace ostria {

struct ShmOptions : GroupOptions {
  int64_t segment_bytes = 512 * 1024;  // of a buffer; each rank has four
};

/// Joins the group: blocks until all `size` ranks, processes or threads, have called it. Throws
/// Error(kDistributed) that names who is missing, or what is damaged.
std::unique_ptr<Communicator> MakeShm(int rank, int size, KeyValues& key_values,
                                      const ShmOptions& options);

}  // namespace ostria
