// SPDX-License-Identifier: Apache-2.0
// Elements as bits, and as keys.
#pragma once

#include "kernels/sort/sort.h"

#if defined(OSTRIA_KERNEL_CODE)

namespace ostria::kernels {

OSTRIA_DEVICE uint64_t LoadBits(const void* x, int64_t i, int bytes) {
  switch (bytes) {
    case 1: return static_cast<const uint8_t*>(x)[i];
    case 2: return static_cast<const uint16_t*>(x)[i];
    case 4: return static_cast<const uint32_t*>(x)[i];
    default: return static_cast<const uint64_t*>(x)[i];
  }
}

OSTRIA_DEVICE void CopyElement(const void* x, int64_t from, void* y, int64_t to, int bytes) {
  switch (bytes) {
    case 1: static_cast<uint8_t*>(y)[to] = static_cast<const uint8_t*>(x)[from]; break;
    case 2: static_cast<uint16_t*>(y)[to] = static_cast<const uint16_t*>(x)[from]; break;
    case 4: static_cast<uint32_t*>(y)[to] = static_cast<const uint32_t*>(x)[from]; break;
    default: static_cast<uint64_t*>(y)[to] = static_cast<const uint64_t*>(x)[from]; break;
  }
}

/// Element i of x; the keys of `law.bytes` bytes are 0 above them.
template <class Key>
OSTRIA_DEVICE Key KeyAt(const void* x, int64_t i, const KeyLaw& law) {
  const auto bits = static_cast<Key>(LoadBits(x, i, law.bytes));
  const Key sign = Key(1) << (8 * law.bytes - 1), all = static_cast<Key>(sign | (sign - 1));
  const auto flip = static_cast<Key>(law.flip);
  if (law.kind == KeyLaw::kUnsigned) return bits ^ flip;
  if (law.kind == KeyLaw::kSigned) return bits ^ sign ^ flip;
  const Key size = bits & (sign - 1);
  if (size > static_cast<Key>(law.infinity)) return all;
  if (size == 0) return sign ^ flip;
  return ((bits & sign) != 0 ? bits ^ all : bits | sign) ^ flip;
}

}  // namespace ostria::kernels

#endif
