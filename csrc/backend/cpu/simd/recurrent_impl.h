// SPDX-License-Identifier: Apache-2.0
// The steps of recurrent_table.h, compiled once per instruction set. Products add up k in order, so
// a result depends neither on how units are split among threads nor on how rows are grouped.
#pragma once

#include "backend/cpu/simd/pack.h"
#include "backend/cpu/simd/recurrent_table.h"
#include "kernels/scalar/functors.h"

namespace ostria {
namespace simd {
inline namespace OSTRIA_ISA_NS {

template <class V>
struct Recurrent {
  using T = ScalarOf<V>;
  using Step = RecurrentStep<T>;
  static constexpr int64_t kLanes = kLanesOf<V>;
  static constexpr int kBackVecs = 2;
  // Rows whose sums, with one row of weights, fill the registers: 32 with AVX-512, else 16.
  static constexpr bool kManyRegisters = kLanes * sizeof(T) == 64;
  template <int kVecs>
  static constexpr int kRows = kVecs == 1       ? 8
                               : kManyRegisters ? 26 / kVecs - (kVecs == 2 ? 3 : 0)
                                                : 12 / kVecs - (kVecs == 4);

  static OSTRIA_FN V SigmoidOf(V x) {
    return kernels::Functor<kernels::ScalarOp::kSigmoid>::Call(x);
  }
  static OSTRIA_FN V TanhOf(V x) { return kernels::Functor<kernels::ScalarOp::kTanh>::Call(x); }
  static OSTRIA_FN V SigmoidSlope(V g, V a) { return g * (a * (V(T(1)) - a)); }
  static OSTRIA_FN V TanhSlope(V g, V a) { return g * (V(T(1)) - a * a); }

  static OSTRIA_FN bool HasStep(const Step& s, int64_t row) {
    return s.lengths == nullptr || s.place < s.lengths[row];
  }
  // Backwards, a row with a length begins at its last step.
  static OSTRIA_FN bool Begins(const Step& s, int64_t row) {
    return s.lengths != nullptr && s.reverse && s.place + 1 >= s.lengths[row];
  }

  static void Pack(const T* weights, int64_t k, int64_t k_stride, int64_t unit_stride,
                   int64_t gates, int64_t units, int64_t group, int64_t first, int64_t last,
                   T* packed) {
    packed += first * k * gates * group;
    for (int64_t p = first; p < last; ++p) {
      for (int64_t i = 0; i < k; ++i) {
        for (int64_t gate = 0; gate < gates; ++gate) {
          const T* from = weights + i * k_stride + gate * units * unit_stride;
          for (int64_t j = 0; j < group; ++j) {
            const int64_t unit = p * group + j;
            *packed++ = unit < units ? from[unit * unit_stride] : T(0);
          }
        }
      }
    }
  }

  // --- cells forward: z is the product, and products with x lie in gates ------------------------

  template <bool relu>
  struct Simple {
    static constexpr int kGates = 1;
    static OSTRIA_FN V Start(const Step& s, int64_t row, int64_t unit, int64_t n, int) {
      return LoadVecUpTo<V>(s.gates + row * s.gates_row + unit, n);
    }
    static OSTRIA_FN V Finish(const Step&, int64_t, int64_t, int64_t, const V* z, V) {
      if constexpr (relu) {
        return kernels::Functor<kernels::ScalarOp::kRelu>::Call(z[0]);
      } else {
        return TanhOf(z[0]);
      }
    }
    static OSTRIA_FN void Skip(const Step&, int64_t, int64_t, int64_t) {}
    static OSTRIA_FN void Back(const Step& s, int64_t row, int64_t unit, int64_t n, V g, V, V* d,
                               V* around) {
      const V y = LoadVecUpTo<V>(s.y + row * s.y_row + unit, n);
      d[0] = relu ? Select(y > V(T(0)), g, V(T(0))) : TanhSlope(g, y);
      *around = V(T(0));
    }
    static constexpr int kStored = 1, kRecurrentStored = 1;
  };

  struct Lstm {
    static constexpr int kGates = 4;
    static OSTRIA_FN V Start(const Step& s, int64_t row, int64_t unit, int64_t n, int gate) {
      return LoadVecUpTo<V>(s.gates + row * s.gates_row + gate * s.units + unit, n);
    }
    static OSTRIA_FN V Finish(const Step& s, int64_t row, int64_t unit, int64_t n, const V* z, V) {
      const V in = SigmoidOf(z[0]), forget = SigmoidOf(z[1]), candidate = TanhOf(z[2]),
              out = SigmoidOf(z[3]);
      T* c = s.c + row * s.units + unit;
      const V next = forget * LoadVecUpTo<V>(c, n) + in * candidate;
      T* gates = s.gates + row * s.gates_row + unit;
      StoreVec<V>(gates, n, in);
      StoreVec<V>(gates + s.units, n, forget);
      StoreVec<V>(gates + 2 * s.units, n, candidate);
      StoreVec<V>(gates + 3 * s.units, n, out);
      StoreVec<V>(c, n, next);
      StoreVec<V>(s.cells + row * s.cells_row + unit, n, next);
      return out * TanhOf(next);
    }
    static OSTRIA_FN void Skip(const Step& s, int64_t row, int64_t unit, int64_t n) {
      for (int gate = 0; gate < 4; ++gate) {
        StoreVec<V>(s.gates + row * s.gates_row + gate * s.units + unit, n, V(T(0)));
      }
      StoreVec<V>(s.cells + row * s.cells_row + unit, n, V(T(0)));
    }
    static OSTRIA_FN void Back(const Step& s, int64_t row, int64_t unit, int64_t n, V g, V, V* d,
                               V* around) {
      const T* gates = s.gates + row * s.gates_row + unit;
      const V in = LoadVecUpTo<V>(gates, n), forget = LoadVecUpTo<V>(gates + s.units, n),
              candidate = LoadVecUpTo<V>(gates + 2 * s.units, n),
              out = LoadVecUpTo<V>(gates + 3 * s.units, n);
      const V squashed = TanhOf(LoadVecUpTo<V>(s.cells + row * s.cells_row + unit, n));
      const T* before =
          Begins(s, row) ? s.c_first + row * s.units : s.c_before + row * s.c_before_row;
      T* dc = s.c + row * s.units + unit;
      const V cell = LoadVecUpTo<V>(dc, n) + TanhSlope(g * out, squashed);
      d[0] = SigmoidSlope(cell * candidate, in);
      d[1] = SigmoidSlope(cell * LoadVecUpTo<V>(before + unit, n), forget);
      d[2] = TanhSlope(cell * in, candidate);
      d[3] = SigmoidSlope(g * squashed, out);
      StoreVec<V>(dc, n, cell * forget);
      *around = V(T(0));
    }
    static constexpr int kStored = 4, kRecurrentStored = 4;
  };

  struct Gru {
    static constexpr int kGates = 3;
    static OSTRIA_FN V Start(const Step& s, int64_t, int64_t unit, int64_t n, int gate) {
      return LoadVecUpTo<V>(s.bias + gate * s.units + unit, n);
    }
    static OSTRIA_FN V Finish(const Step& s, int64_t row, int64_t unit, int64_t n, const V* z,
                              V h) {
      T* gates = s.gates + row * s.gates_row + unit;
      const V keep = SigmoidOf(LoadVecUpTo<V>(gates, n) + z[0]);
      const V reset = SigmoidOf(LoadVecUpTo<V>(gates + s.units, n) + z[1]);
      const V candidate = TanhOf(LoadVecUpTo<V>(gates + 2 * s.units, n) + reset * z[2]);
      StoreVec<V>(gates, n, keep);
      StoreVec<V>(gates + s.units, n, reset);
      StoreVec<V>(gates + 2 * s.units, n, candidate);
      StoreVec<V>(gates + 3 * s.units, n, z[2]);
      return candidate + keep * (h - candidate);
    }
    static OSTRIA_FN void Skip(const Step& s, int64_t row, int64_t unit, int64_t n) {
      for (int gate = 0; gate < 4; ++gate) {
        StoreVec<V>(s.gates + row * s.gates_row + gate * s.units + unit, n, V(T(0)));
      }
    }
    // d: of x's three products, then of the recurrent candidate.
    static OSTRIA_FN void Back(const Step& s, int64_t row, int64_t unit, int64_t n, V g, V h, V* d,
                               V* around) {
      const T* gates = s.gates + row * s.gates_row + unit;
      const V keep = LoadVecUpTo<V>(gates, n), reset = LoadVecUpTo<V>(gates + s.units, n),
              candidate = LoadVecUpTo<V>(gates + 2 * s.units, n);
      const V kept = g * keep;
      d[0] = SigmoidSlope(g * (h - candidate), keep);
      d[2] = TanhSlope(g - kept, candidate);
      d[1] = SigmoidSlope(d[2] * LoadVecUpTo<V>(gates + 3 * s.units, n), reset);
      d[3] = d[2] * reset;
      *around = kept;
    }
    static constexpr int kStored = 4, kRecurrentStored = 3;
  };

  // --- products
  // -----------------------------------------------------------------------------------

  template <int R, int G>
  static OSTRIA_FN void Multiply(const Step& s, int64_t row, const T* weights, V (&sum)[R][G]) {
    const T* state = s.state + row * s.state_row;
    for (int64_t i = 0; i < s.k; ++i, weights += G * kLanes) {
      V w[G];
#pragma GCC unroll 16
      for (int v = 0; v < G; ++v) w[v] = LoadVec<V>(weights + v * kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const V x = V(state[r * s.state_row + i]);
#pragma GCC unroll 16
        for (int v = 0; v < G; ++v) sum[r][v] = Fma(x, w[v], sum[r][v]);
      }
    }
  }

  template <class Cell, int R>
  static void ForwardTile(const Step& s, int64_t row, int64_t unit, const T* weights) {
    constexpr int G = Cell::kGates;
    const int64_t n = s.units - unit;
    V z[R][G];
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < G; ++v) z[r][v] = Cell::Start(s, row + r, unit, n, v);
    }
    Multiply<R, G>(s, row, weights, z);
    for (int r = 0; r < R; ++r) {
      const int64_t at = row + r;
      const V h = LoadVecUpTo<V>(s.state + at * s.state_row + unit, n);
      T *next = s.next_state + at * s.state_row + unit, *y = s.y + at * s.y_row + unit;
      if (HasStep(s, at)) {
        const V out = Cell::Finish(s, at, unit, n, z[r], h);
        StoreVec<V>(next, n, out);
        StoreVec<V>(y, n, out);
      } else {
        Cell::Skip(s, at, unit, n);
        StoreVec<V>(next, n, h);
        StoreVec<V>(y, n, V(T(0)));
      }
    }
  }

  template <class Cell>
  static OSTRIA_FN void BackRow(const Step& s, int64_t at, int64_t unit, V product) {
    const int64_t n = s.units - unit;
    T* dh = s.dh + at * s.units + unit;
    const V g = LoadVecUpTo<V>(dh, n) + product;
    const bool active = HasStep(s, at);
    const T* before = Begins(s, at) ? s.h_first + at * s.units : s.h_before + at * s.h_before_row;
    const V h = LoadVecUpTo<V>(before + unit, n);
    StoreVec<V>(s.h_copy + at * s.y_row + unit, n, h);
    V d[4], around = g;
    if (active) {
      Cell::Back(s, at, unit, n, g + LoadVecUpTo<V>(s.dy + at * s.y_row + unit, n), h, d, &around);
    } else {
      for (int v = 0; v < Cell::kStored; ++v) d[v] = V(T(0));
    }
    StoreVec<V>(dh, n, around);
    T* dgates = s.dgates + at * s.dgates_row + unit;
    for (int v = 0; v < Cell::kStored; ++v) StoreVec<V>(dgates + v * s.units, n, d[v]);
    T* next = s.next_state + at * s.state_row + unit;
    for (int v = 0; v < Cell::kRecurrentStored; ++v) {
      const bool last_of_gru = Cell::kStored != Cell::kRecurrentStored && v == 2;
      StoreVec<V>(next + v * s.units, n, last_of_gru ? d[3] : d[v]);
    }
  }

  // No cell: the product is added to dh.
  struct NoCell {};

  template <class Cell, int R>
  static void BackwardTile(const Step& s, int64_t row, int64_t unit, const T* weights) {
    V sum[R][kBackVecs];
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < kBackVecs; ++v) sum[r][v] = V(T(0));
    }
    Multiply<R, kBackVecs>(s, row, weights, sum);
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < kBackVecs && unit + v * kLanes < s.units; ++v) {
        const int64_t at = unit + v * kLanes;
        if constexpr (__is_same(Cell, NoCell)) {
          T* dh = s.dh + (row + r) * s.units + at;
          StoreVec<V>(dh, s.units - at, LoadVecUpTo<V>(dh, s.units - at) + sum[r][v]);
        } else {
          BackRow<Cell>(s, row + r, at, sum[r][v]);
        }
      }
    }
  }

  template <class Cell, bool backward, int R>
  static void Tile(const Step& s, int64_t rows, int64_t row, int64_t unit, const T* weights) {
    if (rows == R) {
      if constexpr (backward) {
        BackwardTile<Cell, R>(s, row, unit, weights);
      } else {
        ForwardTile<Cell, R>(s, row, unit, weights);
      }
    } else if constexpr (R > 1) {
      Tile<Cell, backward, R - 1>(s, rows, row, unit, weights);
    }
  }

  template <class Cell, bool backward, int kVecs, int64_t kGroup>
  static void Run(const Step& s) {
    constexpr int kMost = kRows<kVecs>;
    const int64_t tiles = (s.batch + kMost - 1) / kMost;
    for (int64_t p = s.first; p < s.last; ++p) {
      const T* weights = s.weights + p * s.k * kVecs * kLanes;
      if (s.k == 0) weights = s.weights;
      for (int64_t i = 0; i < tiles; ++i) {  // rows in equal parts
        const int64_t row = s.batch * i / tiles, rows = s.batch * (i + 1) / tiles - row;
        Tile<Cell, backward, kMost>(s, rows, row, p * kGroup, weights);
      }
    }
  }
  template <class Cell>
  static void Forward(const Step& s) {
    Run<Cell, false, Cell::kGates, kLanes>(s);
  }
  template <class Cell>
  static void Backward(const Step& s) {
    Run<Cell, true, kBackVecs, kBackVecs * kLanes>(s);
  }

  static constexpr RecurrentKernels<T> kFns = {
      kLanes,
      kBackVecs* kLanes,
      &Pack,
      {&Forward<Simple<false>>, &Forward<Simple<true>>, &Forward<Gru>, &Forward<Lstm>},
      {&Backward<Simple<false>>, &Backward<Simple<true>>, &Backward<Gru>, &Backward<Lstm>},
      &Backward<NoCell>};
};

constexpr RecurrentTable MakeRecurrentTable() {
  return {Recurrent<VecF32>::kFns, Recurrent<VecF64>::kFns};
}

}  // namespace OSTRIA_ISA_NS
}  // namespace simd
}  // namespace ostria
