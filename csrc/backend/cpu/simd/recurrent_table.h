// SPDX-License-Identifier: Apache-2.0
// One step of a recurrence for some units and all rows: the product with the recurrent weights and
// everything that follows it, while its result is in registers. kernels_recurrent.cpp adds steps,
// threads and the large products. Plain data only: files built with AVX flags include it.
#pragma once

#include <cstdint>

namespace ostria {

enum class RecurrentCell : uint8_t { kTanh, kRelu, kGru, kLstm };
inline constexpr int kNumRecurrentCells = 4;

/// Operands of a step; strides between rows in elements. Units go by groups of `group` of the
/// table.
template <class T>
struct RecurrentStep {
  int64_t batch, units, k;  // k: rows of the packed weights
  int64_t first, last;      // groups of units
  const T* weights;         // packed
  const int64_t* lengths;   // per row, or null
  int64_t place;            // of this step in the sequence
  // Forward: state of k units. Backward: gradients of k gates of the step after it.
  const T* state;
  T* next_state;
  int64_t state_row;
  T* gates;  // simple_rnn forward: y, which holds the products with x
  int64_t gates_row;
  T* y;
  int64_t y_row;
  T* cells;  // lstm
  int64_t cells_row;
  T* c;           // lstm: state, or its gradient; rows of `units`
  const T* bias;  // gru forward: of the recurrent product
  // Backward only. What the step began with, and the same for rows whose first step this is.
  const T *h_before, *h_first, *c_before, *c_first;
  int64_t h_before_row, c_before_row;
  bool reverse;
  const T* dy;
  T *dh, *dgates, *h_copy;  // dh: rows of `units`, what flows around the product
  int64_t dgates_row;
};

template <class T>
struct RecurrentKernels {
  int64_t forward_group, backward_group;  // units per group
  /// weights[k, gate * units + unit] by groups: [k][gate][forward_group], zeros past the last unit.
  void (*pack)(const T* weights, int64_t k, int64_t k_stride, int64_t unit_stride, int64_t gates,
               int64_t units, int64_t group, int64_t first, int64_t last, T* packed);
  void (*forward[kNumRecurrentCells])(const RecurrentStep<T>&);
  void (*backward[kNumRecurrentCells])(const RecurrentStep<T>&);
  /// dh += state weights, which ends the way back.
  void (*end)(const RecurrentStep<T>&);
};

struct RecurrentTable {
  RecurrentKernels<float> f32;
  RecurrentKernels<double> f64;
};
extern const RecurrentTable kRecurrentBaseline, kRecurrentAvx2, kRecurrentAvx512;

}  // namespace ostria
