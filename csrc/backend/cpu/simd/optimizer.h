// SPDX-License-Identifier: Apache-2.0
// Optimizer steps over flat ranges of weights and slots, on the threads of the process. T is float
// or double. The rules are in kernels/optim/rules.h; the gradient is scaled and w shrunk (decoupled
// decay) before a rule sees them.
#pragma once

#include <cstdint>

#include "backend/cpu/simd/dense_table.h"

namespace ostria {

/// A range of weights with its gradient and slots. Join adjacent ranges: each costs a loop start.
template <class T>
struct OptimizerSegment {
  T* w;
  const T* g;  // n elements; with `column` a row of `cols`; with `rows` that many rows of `cols`
  T* slots[kMaxSlots];
  int64_t n;
  const T* column = nullptr;  // not null: weight i has the gradient column[i / cols] g[i % cols]
  int64_t cols = 0;
  int64_t rows = 0;              // > 0: row r of g belongs to row ids[r] of w (r without ids)
  const int32_t* ids = nullptr;  // each row at most once; w and slots are then whole tables
  bool lazy = false;             // with `rows`: a row whose gradient is all 0 is left alone
};

/// Slots that the rule takes.
int NumSlots(OptimizerRule rule);
/// Numbers of one step of `rule` from its op's own attributes, the rate and the step (from 1).
UpdateParams ParamsOf(OptimizerRule rule, const double* attrs, double lr, double step,
                      double weight_decay, double grad_scale);
template <class T>
void UpdateSegments(OptimizerRule rule, const UpdateParams& params,
                    const OptimizerSegment<T>* segments, int count);

/// One step of LAMB for one variable; the result does not depend on the number of threads.
template <class T>
void LambUpdate(LambParams params, double lr, T* w, const T* g, T* m, T* v, int64_t n);

struct AdafactorOptions {
  double epsilon1, epsilon2, clip_threshold;
  double forget;  // share that the moments lose
  double rate;    // before the root mean square of w
  double keep, grad_scale;
};
/// One step of Adafactor for `count` stacked matrices [rows, cols] of one variable, with moments r
/// [count, rows] and c [count, cols]; with rows 0 for a vector of `cols` elements, whose moment is
/// r.
template <class T>
void AdafactorUpdate(const AdafactorOptions& options, T* w, const T* g, T* r, T* c, int64_t count,
                     int64_t rows, int64_t cols);

}  // namespace ostria
