// SPDX-License-Identifier: Apache-2.0
// One step of lstm or gru between two products of matrices, and one step of its gradient. Sequences
// are [batch, time, n]; pointers to them are to the step's own rows, which lie `_row` elements
// apart.
#pragma once

#include "kernels/common/kernel.h"
#include "kernels/common/layout.h"

namespace ostria::kernels {

struct RecurrentCellParams {
  // What the forward pass gives: z on entry, x kernel, then the gates after their activations.
  void* gates = nullptr;
  const void* product = nullptr;    // [batch, gates * units]: h recurrent_kernel
  const void* bias = nullptr;       // one row, gru: two
  void *h = nullptr, *c = nullptr;  // [batch, units], the states, updated
  void *y = nullptr, *cells = nullptr;
  const void* lengths = nullptr;  // null: every row has all steps
  int64_t batch = 0, units = 0, time = 0, step = 0;
  int64_t sequence_row = 0, gates_row = 0;  // of y and cells; of gates and their gradients
  int32_t wide_lengths = 0;                 // 1: lengths have 64 bits
  int32_t reverse = 0;
};
OSTRIA_LAYOUT(RecurrentCellParams, 120, gates, product, bias, h, c, y, cells, lengths, batch, units,
              time, step, sequence_row, gates_row, wide_lengths, reverse);

struct RecurrentCellGradParams {
  const void *gates = nullptr, *cells = nullptr;
  const void *before = nullptr, *cells_before = nullptr;  // y and cells of the step before
  const void *first_h = nullptr, *first_c = nullptr;      // [batch, units], those of the node
  const void* dy = nullptr;
  void *dh = nullptr, *dc = nullptr;  // [batch, units]: the gradients of the states
  void* dgates = nullptr;             // what products of matrices go on with
  void* states = nullptr;             // the state that the step began with, as a sequence
  void* sums = nullptr;               // [batch, 4 * units]: dgates over the steps so far
  const void* lengths = nullptr;
  int64_t batch = 0, units = 0, time = 0, step = 0;
  int64_t sequence_row = 0, gates_row = 0;
  int32_t wide_lengths = 0, reverse = 0;
  int32_t starts = 0;  // 1: the first step that is taken, so sums hold nothing
  int32_t unused = 0;
};
OSTRIA_LAYOUT(RecurrentCellGradParams, 168, gates, cells, before, cells_before, first_h, first_c,
              dy, dh, dc, dgates, states, sums, lengths, batch, units, time, step, sequence_row,
              gates_row, wide_lengths, reverse, starts, unused);

/// dbias from the sums of all rows.
struct RecurrentBiasParams {
  const void* sums = nullptr;
  void* dbias = nullptr;
  int64_t batch = 0, units = 0;
};
OSTRIA_LAYOUT(RecurrentBiasParams, 32, sums, dbias, batch, units);

}  // namespace ostria::kernels
