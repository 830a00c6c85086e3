// SPDX-License-Identifier: Apache-2.0
// Casts rows and puts zeros behind each: pad_channels_<type of src>_<type of dst>.
#pragma once

#include "kernels/common/kernel.h"
#include "kernels/common/layout.h"

namespace ostria::kernels {

inline constexpr int kPadThreads = 256;

struct PadChannelsParams {
  const void* src = nullptr;  // [rows, from]
  void* dst = nullptr;        // [rows, to]
  int64_t rows = 0, from = 0, to = 0;
};
OSTRIA_LAYOUT(PadChannelsParams, 40, src, dst, rows, from, to);

}  // namespace ostria::kernels
