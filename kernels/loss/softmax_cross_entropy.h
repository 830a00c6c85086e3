// SPDX-License-Identifier: Apache-2.0
// The loss of a classifier from logits [rows, cols] and class numbers, and its gradient with
// respect to the logits. Kernels softmax_cross_entropy_<block|warp>_<type> give a row to a block or
// to a warp; the loss and what it is weighed by may be float32 beside logits of 16 bits. Rows may
// be longer than there are classes: what lies behind is not read, and its gradient is 0.
#pragma once

#include "kernels/common/data_error.h"
#include "kernels/common/kernel.h"
#include "kernels/common/layout.h"

namespace ostria::kernels {

struct SoftmaxCrossEntropyParams {
  const void* logits = nullptr;
  const void* labels = nullptr;
  const void* g = nullptr;     // of each row's loss; read with dlogits
  void* loss = nullptr;        // [rows], or null
  void* dlogits = nullptr;     // null: the loss alone; may be the logits
  int64_t rows = 0, cols = 0;  // classes
  int64_t stride = 0;          // elements from one row to the next, of logits and gradient
  DataErrorWord* data_error = nullptr;
  int32_t step = 0;
  int32_t wide_labels = 0;  // int64 rather than int32
  int32_t wide_rows = 0;    // g and loss are float32
  int32_t reserved = 0;
};
OSTRIA_LAYOUT(SoftmaxCrossEntropyParams, 88, logits, labels, g, loss, dlogits, rows, cols, stride,
              data_error, step, wide_labels, wide_rows, reserved);

inline constexpr int kCrossEntropyThreads = 256;
/// Of a block whose row is long: two blocks of a multiprocessor hold few enough rows for the cache
/// to keep them until they are read again.
inline constexpr int kCrossEntropyMostThreads = 1024;
inline constexpr int64_t kCrossEntropyLongCols = 16384;
/// Rows of up to so many logits are a warp's.
inline constexpr int64_t kCrossEntropyWarpCols = 1024;

}  // namespace ostria::kernels
