// SPDX-License-Identifier: Apache-2.0
// Reduction over ranks of what lies in this process's memory: neighbours first, then pairs of
// neighbours, an odd one out waiting for the next round. So 1, 2, 4 and 8 ranks that hold the same
// leaves get the same bits. 16-bit floats are added in float32 and rounded once.
#pragma once

#include <cstdint>
#include <span>

#include "backend/communicator.h"

namespace ostria {

/// Writes the reduction over all `in` of elements [begin, end) to each of `out`, which may be the
/// same memory as any `in`. Throws Error(kTypeError) for a dtype that is no number.
void ReduceTree(std::span<const void* const> in, std::span<void* const> out, int64_t begin,
                int64_t end, DType dtype, ReduceOp op);

}  // namespace ostria
