// SPDX-License-Identifier: Apache-2.0
// Philox blocks as the files of this folder draw them; see kernels/scalar/philox.h for the layout.
#pragma once

#include "kernels/common/kernel.h"
#include "kernels/scalar/philox.h"

#if defined(OSTRIA_KERNEL_CODE)

namespace ostria::kernels {

/// The four words of block `index` of the draw that `key` (seed, step) and `stream` (mixed) name.
OSTRIA_DEVICE void DrawBlock(const int64_t* key, uint64_t stream, uint64_t index,
                             uint32_t (&words)[4]) {
  const uint64_t seed = static_cast<uint64_t>(key[0]) ^ stream;
  const uint64_t step = static_cast<uint64_t>(key[1]);
  words[0] = static_cast<uint32_t>(index);
  words[1] = static_cast<uint32_t>(index >> 32);
  words[2] = static_cast<uint32_t>(step);
  words[3] = static_cast<uint32_t>(step >> 32);
  Philox(words, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
}

/// Of 64-bit elements there are two in a block.
OSTRIA_DEVICE uint64_t WideWord(const uint32_t (&words)[4], int i) {
  return static_cast<uint64_t>(words[2 * i]) << 32 | words[2 * i + 1];
}

}  // namespace ostria::kernels

#endif
