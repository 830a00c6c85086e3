// SPDX-License-Identifier: Apache-2.0
// What the passes that take batch normalisation apart make of it.
#pragma once

#include "ir/builder.h"

namespace ostria {

/// Of each channel; float32 where x has 16 bits.
struct ChannelNumbers {
  Value mean, factor, bias;
};
/// (x - mean) factor + bias in the dtype of x, as nodes that loops take.
Value NormalisedBy(Builder& b, Value x, const ChannelNumbers& c);

}  // namespace ostria
