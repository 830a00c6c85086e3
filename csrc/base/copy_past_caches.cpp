// SPDX-License-Identifier: Apache-2.0
#include "base/copy_past_caches.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <algorithm>
#include <cstring>

namespace ostria {

void CopyPastCaches(void* dst, const void* src, int64_t bytes) {
  if (bytes <= 0) return;  // the addresses may be null
#if defined(__SSE2__)
  auto* to = static_cast<char*>(dst);
  const auto* from = static_cast<const char*>(src);
  const auto part = [&](int64_t n) {
    std::memcpy(to, from, static_cast<size_t>(n));
    to += n;
    from += n;
    bytes -= n;
  };
  constexpr int64_t kLine = 64;
  part(std::min(bytes,
                (kLine - static_cast<int64_t>(reinterpret_cast<uintptr_t>(to) % kLine)) % kLine));
  for (; bytes >= kLine; to += kLine, from += kLine, bytes -= kLine) {
    for (int64_t i = 0; i < kLine; i += 16) {
      _mm_stream_si128(reinterpret_cast<__m128i*>(to + i),
                       _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i)));
    }
  }
  part(bytes);
  _mm_sfence();
#else
  std::memcpy(dst, src, static_cast<size_t>(bytes));
#endif
}

}  // namespace ostria
