// SPDX-License-Identifier: Apache-2.0
// What matmul and matmul_fused share: shape rule, work, and the product in simpler ops.
#pragma once

#include "ir/builder.h"

namespace ostria::ops {

/// Checks inputs 0 and 1 and gives the shape of their product.
Shape InferProduct(const InferContext& c);
/// Two for every multiply-add.
double ProductFlops(std::span<const ValueType> inputs, std::span<const ValueType> outputs,
                    std::span<const Attr> attrs);

}  // namespace ostria::ops
