// SPDX-License-Identifier: Apache-2.0
// Which sizes a device likes in matrix products, and when it pays to give it such: functions of its
// properties, so a plan needs no device.
#pragma once

#include "backend/kernel.h"
#include "ops/common/product_padding.h"

namespace ostria {

/// Elements that a row of a matrix should be a multiple of in products of this type; 1: any size is
/// as good. Tensor cores are fed 16 bytes at a time. float64 and, without TF32, float32 are not:
/// their products are bound by arithmetic, and element by element loads keep up with it.
int64_t ProductMultiple(const DeviceProps& device, DType dtype);

/// Whether the larger sizes save more time than they cost.
bool PaddingPays(const DeviceProps& device, const ops::ProductPadding& padding);

}  // namespace ostria
