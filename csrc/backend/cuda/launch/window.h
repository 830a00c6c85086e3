// SPDX-License-Identifier: Apache-2.0
// Nodes whose windows slide over images, as kernels take them.
#pragma once

#include "backend/kernel.h"
#include "kernels/common/window.h"
#include "ops/common/window.h"

namespace ostria::cuda {

/// `image` and `result`: [n, ..., c].
kernels::WindowShape WindowShapeOf(const ops::Window& window, const MemDesc& image,
                                   const MemDesc& result);
/// No, with the reason, unless every operand is dense, floating-point results have fewer than 2^32
/// elements and sizes of windows fit into 32 bits.
Support SupportsWindow(const NodeDesc& node, const ops::Window& window);

}  // namespace ostria::cuda
