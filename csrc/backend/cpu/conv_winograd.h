// SPDX-License-Identifier: Apache-2.0
// Convolutions of images with windows of 3 x 3 and stride 1 by Winograd's minimal filtering
// (simd/winograd_table.h): 2.25 times fewer products than direct sums. They come before the
// library's where they are faster: see what Supports refuses.
#pragma once

#include <memory>

#include "backend/kernel.h"

namespace ostria::cpu {

/// conv2d, conv_fused (with none or relu) and conv_grad_input. Threads share the tiles.
Support SupportsWinograd(const NodeDesc& node);
std::unique_ptr<KernelState> PrepareWinograd(const NodeDesc& node);
void PackWinograd(const KernelState& state, void* const* ptrs);
void LaunchWinograd(const KernelState& state, void* const* ptrs);

/// conv_grad_filter. Threads share the frequencies and filters.
Support SupportsWinogradGrad(const NodeDesc& node);
std::unique_ptr<KernelState> PrepareWinogradGrad(const NodeDesc& node);
void LaunchWinogradGrad(const KernelState& state, void* const* ptrs);

}  // namespace ostria::cpu
