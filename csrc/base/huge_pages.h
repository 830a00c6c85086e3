// SPDX-License-Identifier: Apache-2.0
// Memory in pages of 2 MiB: fewer faults, and fewer misses of the table of pages, which cost most
// in a virtual machine. Where "madvise" is Linux's setting, they are for whom asks.
#pragma once

#include <cstddef>

namespace ostria {

inline constexpr size_t kHugePage = size_t{2} << 20;

/// Asks for them in what of [begin, begin + bytes) whole ones cover, so that no more memory is used
/// than that. What was touched before stays as it is; refused where the system has none, which is
/// no error.
void AskForHugePages(void* begin, size_t bytes);

}  // namespace ostria
