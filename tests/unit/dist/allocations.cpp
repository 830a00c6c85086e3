// SPDX-License-Identifier: Apache-2.0
#include "dist/allocations.h"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace ostria {
std::atomic<int64_t> num_allocations{0};
thread_local size_t largest_allocation = 0;
}  // namespace ostria

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
void* operator new(size_t size) {
  ++ostria::num_allocations;
  ostria::largest_allocation = std::max(ostria::largest_allocation, size);
  if (void* p = std::malloc(size == 0 ? 1 : size)) return p;
  throw std::bad_alloc();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
#endif
