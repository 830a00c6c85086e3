// SPDX-License-Identifier: Apache-2.0
#include "dist/control/allocations.h"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace ostria {
thread_local size_t largest_allocation = 0;
}

void* operator new(size_t size) {
  ostria::largest_allocation = std::max(ostria::largest_allocation, size);
  if (void* p = std::malloc(size)) return p;
  throw std::bad_alloc();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
