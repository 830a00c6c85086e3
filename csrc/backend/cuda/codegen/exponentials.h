// SPDX-License-Identifier: Apache-2.0
// Sums of exponentials below their maximum, as softmax and its relatives have them:
//   m = fold_cols max a;  s = fold_cols sum exp(scale * (a - m))
// Both come from one look at the row (kernels/loop/loop.h: Exponentials). Private to codegen.
#pragma once

#include <vector>

#include "loop/program.h"

namespace ostria::cuda {

struct ExponentialSum {
  int sum = -1, most = -1;  // the folds over columns
  int of = -1;              // what is looked for the largest of
  double scale = 1;         // positive
  /// What is subtracted is where(isfinite(m), m, a finite number) rather than m.
  bool guarded = false;
};

/// All of `p`, in order of the sums.
std::vector<ExponentialSum> FindExponentialSums(const LoopProgram& p);

}  // namespace ostria::cuda
