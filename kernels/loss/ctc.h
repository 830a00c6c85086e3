// SPDX-License-Identifier: Apache-2.0
// Connectionist temporal classification: a block per sequence, see csrc/ops/nn/ctc_loss.cpp.
#pragma once

#include "kernels/common/data_error.h"
#include "kernels/common/layout.h"

namespace ostria::kernels {

inline constexpr int kCtcThreads = 256;

struct CtcParams {
  const void* logits = nullptr;  // [batch, time, classes]
  const void* labels = nullptr;  // [batch, max_labels]
  const void* logit_lengths = nullptr;
  const void* label_lengths = nullptr;
  const void* g = nullptr;    // [batch], for the gradient
  void* dst = nullptr;        // [batch], or like logits
  double* scratch = nullptr;  // see CtcScratch
  int32_t* chains = nullptr;  // [batch, max_labels]: of the gradient
  int64_t batch = 0, time = 0, classes = 0, max_labels = 0;
  int32_t blank = 0, zero_infinity = 0;
  int32_t wide_labels = 0, wide_logit_lengths = 0, wide_label_lengths = 0;  // 1: int64
  int32_t step = 0;
  DataErrorWord* data_error = nullptr;
};
OSTRIA_LAYOUT(CtcParams, 128, logits, labels, logit_lengths, label_lengths, g, dst, scratch, chains,
              batch, time, classes, max_labels, blank, zero_infinity, wide_labels,
              wide_logit_lengths, wide_label_lengths, step, data_error);

/// Numbers of scratch of one sequence: normalisers of the steps, then rows of states: all steps'
/// for the gradient, and two.
constexpr int64_t CtcScratch(int64_t time, int64_t max_labels, bool grad) {
  return time + (2 * max_labels + 1) * (grad ? time + 2 : 2);
}

}  // namespace ostria::kernels
