// SPDX-License-Identifier: Apache-2.0
// Stable sorts of keys with their positions, as launches of kernels/sort that other nodes begin
// with: rows by segment, gradients by the row of a table that they go to.
#pragma once

#include "backend/cuda/launch/launches.h"

namespace ostria::cuda {

/// Unsigned keys: [rows, n], dense.
struct KeyRows {
  int64_t rows = 1, n = 0;
  int bytes = 4;  // of a key: 4 or 8
  int bits = 32;  // the low ones, which tell keys apart; those above are equal in all keys
};

/// Where the sorted keys lie, and as int32 where in its row each of them stood.
struct Sorted {
  Place keys, positions;
};

/// Workspace that AddSort takes, a multiple of 256 bytes.
int64_t SortWorkspace(const KeyRows& what);

/// Appends the launches that sort the keys at `keys`, which they leave as they are. The result lies
/// in the workspace. Rows may have up to 2^31 - 1 keys.
Sorted AddSort(Launches* to, const KeyRows& what, Place keys, Place workspace,
               const DeviceProps& device);

}  // namespace ostria::cuda
