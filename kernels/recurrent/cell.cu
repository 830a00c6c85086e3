// SPDX-License-Identifier: Apache-2.0
// A thread per unit of a row. A row's steps from its length on leave its states alone, and all that
// belongs to them is zero. Sums over steps are taken by one thread, those over rows in their order.
//   lstm: gates i, f, c, o                         dgates the same
//   gru:  gates z, r, the candidate, what r multiplies     dgates z, r, that, the candidate
#include "kernels/recurrent/cell.h"

#include "kernels/scalar/functors.h"

namespace ostria::kernels {
namespace {

template <class T>
OSTRIA_DEVICE T Sigmoid(T x) {
  return Functor<ScalarOp::kSigmoid>::Call(x);
}
template <class T>
OSTRIA_DEVICE T Tanh(T x) {
  return Functor<ScalarOp::kTanh>::Call(x);
}

template <class P>
OSTRIA_DEVICE int64_t LengthOf(const P& p, int64_t row) {
  if (p.lengths == nullptr) return p.time;
  const int64_t n = p.wide_lengths != 0 ? static_cast<const int64_t*>(p.lengths)[row]
                                        : static_cast<const int32_t*>(p.lengths)[row];
  return min(max(n, int64_t{0}), p.time);
}

// Calls fn(row, unit) for everything that is this thread's.
template <class Fn>
OSTRIA_DEVICE void Each(int64_t batch, int64_t units, Fn fn) {
  const int64_t all = batch * units, threads = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < all; i += threads) {
    const int64_t row = i / units;
    fn(row, i - row * units);
  }
}

template <class T, bool kLstm>
OSTRIA_DEVICE void Forward(const RecurrentCellParams& p) {
  const int64_t n = p.units;
  const T* const bias = static_cast<const T*>(p.bias);
  Each(p.batch, n, [&](int64_t row, int64_t u) {
    T* const gates = static_cast<T*>(p.gates) + row * p.gates_row + u;
    const T* const s = static_cast<const T*>(p.product) + row * (kLstm ? 4 : 3) * n + u;
    T* const h = static_cast<T*>(p.h) + row * n + u;
    T* const y = static_cast<T*>(p.y) + row * p.sequence_row + u;
    if (p.step >= LengthOf(p, row)) {
      for (int k = 0; k < 4; ++k) gates[k * n] = T(0);
      *y = T(0);
      if constexpr (kLstm) static_cast<T*>(p.cells)[row * p.sequence_row + u] = T(0);
      return;
    }
    const auto z = [&](int k) { return gates[k * n] + s[k * n] + bias[k * n + u]; };
    if constexpr (kLstm) {
      T* const c = static_cast<T*>(p.c) + row * n + u;
      const T input = Sigmoid(z(0)), forget = Sigmoid(z(1)), fresh = Tanh(z(2)),
              output = Sigmoid(z(3));
      const T next = forget * *c + input * fresh;
      gates[0] = input;
      gates[n] = forget;
      gates[2 * n] = fresh;
      gates[3 * n] = output;
      *c = static_cast<T*>(p.cells)[row * p.sequence_row + u] = next;
      *h = *y = output * Tanh(next);
    } else {
      const auto second = [&](int k) { return bias[(3 + k) * n + u]; };
      const T update = Sigmoid(z(0) + second(0)), reset = Sigmoid(z(1) + second(1));
      const T state = s[2 * n] + second(2);
      const T fresh = Tanh(gates[2 * n] + bias[2 * n + u] + reset * state);
      gates[0] = update;
      gates[n] = reset;
      gates[2 * n] = fresh;
      gates[3 * n] = state;
      *h = *y = fresh + update * (*h - fresh);
    }
  });
}

template <class T, bool kLstm>
OSTRIA_DEVICE void Backward(const RecurrentCellGradParams& p) {
  const int64_t n = p.units;
  Each(p.batch, n, [&](int64_t row, int64_t u) {
    const int64_t at = row * n + u, in_sequence = row * p.sequence_row + u;
    T* const dgates = static_cast<T*>(p.dgates) + row * p.gates_row + u;
    T* const sums = static_cast<T*>(p.sums) + row * 4 * n + u;
    T* const state = static_cast<T*>(p.states) + in_sequence;
    T* const dh = static_cast<T*>(p.dh) + at;
    const int64_t length = LengthOf(p, row);
    T d[4] = {};
    if (p.step < length) {
      const T* const gates = static_cast<const T*>(p.gates) + row * p.gates_row + u;
      const bool begins = p.reverse != 0 ? p.step + 1 == length : p.step == 0;
      const T before = begins ? static_cast<const T*>(p.first_h)[at]
                              : static_cast<const T*>(p.before)[in_sequence];
      const T g = *dh + static_cast<const T*>(p.dy)[in_sequence];
      const T a = gates[0], b = gates[n], fresh = gates[2 * n], last = gates[3 * n];
      if constexpr (kLstm) {
        T* const dc = static_cast<T*>(p.dc) + at;
        const T squashed = Tanh(static_cast<const T*>(p.cells)[in_sequence]);
        const T cell_before = begins ? static_cast<const T*>(p.first_c)[at]
                                     : static_cast<const T*>(p.cells_before)[in_sequence];
        const T cell = *dc + g * last * (T(1) - squashed * squashed);
        d[0] = cell * fresh * (a * (T(1) - a));
        d[1] = cell * cell_before * (b * (T(1) - b));
        d[2] = cell * a * (T(1) - fresh * fresh);
        d[3] = g * squashed * (last * (T(1) - last));
        *dc = cell * b;
        *dh = T(0);  // the product of dgates is added to it
      } else {
        const T kept = g * a;
        d[3] = (g - kept) * (T(1) - fresh * fresh);
        d[0] = g * (before - fresh) * (a * (T(1) - a));
        d[1] = d[3] * last * (b * (T(1) - b));
        d[2] = d[3] * b;
        *dh = kept;
      }
      *state = before;
    } else {
      *state = T(0);
    }
    for (int k = 0; k < 4; ++k) {
      dgates[k * n] = d[k];
      sums[k * n] = p.starts != 0 ? d[k] : sums[k * n] + d[k];
    }
  });
}

// Column `k` of dbias is the sum of column From(k) of the sums.
template <class T, bool kLstm>
OSTRIA_DEVICE void Bias(const RecurrentBiasParams& p) {
  const int64_t n = p.units;
  Each(1, (kLstm ? 4 : 6) * n, [&](int64_t, int64_t k) {
    int64_t from = k;
    if constexpr (!kLstm) {
      if (k >= 2 * n && k < 3 * n) from = k + n;  // of x; rows of h follow in their order
      if (k >= 3 * n) from = k - 3 * n;
    }
    T sum = T(0);
    for (int64_t row = 0; row < p.batch; ++row) {
      sum += static_cast<const T*>(p.sums)[row * 4 * n + from];
    }
    static_cast<T*>(p.dbias)[k] = sum;
  });
}

}  // namespace

OSTRIA_KERNEL(lstm_cell_f32, RecurrentCellParams, 256) { Forward<float, true>(p); }
OSTRIA_KERNEL(lstm_cell_f64, RecurrentCellParams, 256) { Forward<double, true>(p); }
OSTRIA_KERNEL(gru_cell_f32, RecurrentCellParams, 256) { Forward<float, false>(p); }
OSTRIA_KERNEL(gru_cell_f64, RecurrentCellParams, 256) { Forward<double, false>(p); }
OSTRIA_KERNEL(lstm_cell_grad_f32, RecurrentCellGradParams, 256) { Backward<float, true>(p); }
OSTRIA_KERNEL(lstm_cell_grad_f64, RecurrentCellGradParams, 256) { Backward<double, true>(p); }
OSTRIA_KERNEL(gru_cell_grad_f32, RecurrentCellGradParams, 256) { Backward<float, false>(p); }
OSTRIA_KERNEL(gru_cell_grad_f64, RecurrentCellGradParams, 256) { Backward<double, false>(p); }
OSTRIA_KERNEL(lstm_bias_f32, RecurrentBiasParams, 256) { Bias<float, true>(p); }
OSTRIA_KERNEL(lstm_bias_f64, RecurrentBiasParams, 256) { Bias<double, true>(p); }
OSTRIA_KERNEL(gru_bias_f32, RecurrentBiasParams, 256) { Bias<float, false>(p); }
OSTRIA_KERNEL(gru_bias_f64, RecurrentBiasParams, 256) { Bias<double, false>(p); }

}  // namespace ostria::kernels
