// SPDX-License-Identifier: Apache-2.0
// The layout of a parameter struct, asserted where the struct is: host and device compile it apart,
// and bytes are all that they hand over. Members follow each other without gaps, so each offset is
// the sum of the sizes before it, and no byte of a launch is left unset.
#pragma once

#include <cstddef>

namespace ostria::kernels {

struct LayoutMember {
  std::size_t offset, bytes;
};

template <int kCount>
constexpr bool FollowEachOther(const LayoutMember (&members)[kCount], std::size_t bytes) {
  std::size_t end = 0;
  for (const LayoutMember& m : members) {
    if (m.offset != end) return false;
    end += m.bytes;
  }
  return end == bytes;
}

}  // namespace ostria::kernels

/// Behind struct T: it is plain, has `size` bytes, and its members are these, in this order.
#define OSTRIA_LAYOUT(T, size, ...)                                                               \
  static_assert(__is_standard_layout(T) && __is_trivially_copyable(T), #T " is no plain struct"); \
  static_assert(sizeof(T) == (size) && sizeof(T) <= 4096, "what a launch can pass");              \
  static_assert(::ostria::kernels::FollowEachOther({OSTRIA_LAYOUT_ALL(T, __VA_ARGS__)}, size),    \
                #T " has other members, in another order or with gaps: fill them with `unused`")

// One after the other, by scanning again: 64 members and more.
#define OSTRIA_LAYOUT_ALL(T, ...) OSTRIA_LAYOUT_64(OSTRIA_LAYOUT_NEXT(T, __VA_ARGS__))
#define OSTRIA_LAYOUT_NEXT(T, m, ...)       \
  {__builtin_offsetof(T, m), sizeof(T::m)}, \
      __VA_OPT__(OSTRIA_LAYOUT_AGAIN OSTRIA_LAYOUT_NONE()()(T, __VA_ARGS__))
#define OSTRIA_LAYOUT_NONE()
#define OSTRIA_LAYOUT_AGAIN() OSTRIA_LAYOUT_NEXT
#define OSTRIA_LAYOUT_64(...) \
  OSTRIA_LAYOUT_16(OSTRIA_LAYOUT_16(OSTRIA_LAYOUT_16(OSTRIA_LAYOUT_16(__VA_ARGS__))))
#define OSTRIA_LAYOUT_16(...) \
  OSTRIA_LAYOUT_4(OSTRIA_LAYOUT_4(OSTRIA_LAYOUT_4(OSTRIA_LAYOUT_4(__VA_ARGS__))))
#define OSTRIA_LAYOUT_4(...) \
  OSTRIA_LAYOUT_1(OSTRIA_LAYOUT_1(OSTRIA_LAYOUT_1(OSTRIA_LAYOUT_1(__VA_ARGS__))))
#define OSTRIA_LAYOUT_1(...) __VA_ARGS__
