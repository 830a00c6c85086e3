// SPDX-License-Identifier: Apache-2.0
// Our own convolutions on images with channels last, made of register tiles (simd/conv_table.h).
// They come before the library's where they are faster: see what Supports refuses.
#pragma once

#include <memory>

#include "backend/kernel.h"

namespace ostria::cpu {

/// conv_grad_filter for windows wider than one element. Threads share the kernel, not the images,
/// so a result does not depend on their number.
Support SupportsFilterTiles(const NodeDesc& node);
std::unique_ptr<KernelState> PrepareFilterTiles(const NodeDesc& node);
void LaunchFilterTiles(const KernelState& state, void* const* ptrs);

/// conv1d, conv2d and conv_grad_input of several small images with many channels, where a library
/// spends a good part of its products on borders. Threads share the result.
Support SupportsPlaces(const NodeDesc& node);
std::unique_ptr<KernelState> PreparePlaces(const NodeDesc& node);
void LaunchPlaces(const KernelState& state, void* const* ptrs);

}  // namespace ostria::cpu
