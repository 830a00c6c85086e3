// SPDX-License-Identifier: Apache-2.0
#include "base/huge_pages.h"

#include <sys/mman.h>

#include <cstdint>

namespace ostria {

void AskForHugePages(void* begin, size_t bytes) {
  const auto address = reinterpret_cast<uintptr_t>(begin);
  const size_t before = (kHugePage - address % kHugePage) % kHugePage;
  if (bytes < before + kHugePage) return;
  const size_t whole = (bytes - before) / kHugePage * kHugePage;
  ::madvise(static_cast<std::byte*>(begin) + before, whole, MADV_HUGEPAGE);
}

}  // namespace ostria
