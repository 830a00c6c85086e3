// SPDX-License-Identifier: Apache-2.0
// The loop around Functor<op>, compiled once per instruction set. A repeated input is splat into
// one vector of stack that the loop re-reads, so that a single loop body serves every broadcast
// pattern.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

#include "backend/cpu/simd/elementwise_table.h"
#include "backend/cpu/simd/pack.h"
#include "kernels/scalar/functors.h"

namespace ostria {

namespace simd {
inline namespace OSTRIA_ISA_NS {

using kernels::Functor;
using kernels::ScalarOp;

template <ScalarOp op>
struct One : Functor<op> {
  static constexpr kernels::ScalarOpInfo kInfo = kernels::InfoOf(op);
  static constexpr bool kBoolFirst = op == ScalarOp::kWhere;
};

template <ScalarOp first, ScalarOp second, bool kSwapped>
struct Pair {
  static constexpr kernels::ScalarOpInfo kInfo = {"pair", 3, 0, false, kernels::kFloats};
  static constexpr bool kBoolFirst = false;
  template <class V>
  static OSTRIA_FN V Call(V a, V b, V c) {
    const V x = Functor<first>::Call(a, b);
    return kSwapped ? Functor<second>::Call(c, x) : Functor<second>::Call(x, c);
  }
};

template <class F, class V>
struct ElementLoop {
  using T = ScalarOf<V>;
  static constexpr kernels::ScalarOpInfo kInfo = F::kInfo;
  static constexpr int kInputs = kInfo.arity;
  static constexpr int kLanes = kLanesOf<V>;
  static constexpr bool kBoolFirst = F::kBoolFirst;

  struct Cursor {
    const T* data[3];
    const bool* condition;
    int64_t step[3];
  };

  template <class Operand, class P>
  static OSTRIA_FN Operand Get(const P* p, int64_t n) {
    Operand out;
    if (n < 0) {
      Load(p, &out);
    } else {
      LoadPartial(p, n, &out);
    }
    return out;
  }

  // n < 0 means a whole vector.
  static OSTRIA_FN auto Apply(const Cursor& c, V p0, int64_t n) {
    if constexpr (kBoolFirst) {
      return F::Call(Get<MaskOf<V>>(c.condition, n), Get<V>(c.data[1], n), Get<V>(c.data[2], n));
    } else if constexpr (kInputs == 3) {
      return F::Call(Get<V>(c.data[0], n), Get<V>(c.data[1], n), Get<V>(c.data[2], n));
    } else if constexpr (kInputs == 2) {
      return F::Call(Get<V>(c.data[0], n), Get<V>(c.data[1], n));
    } else if constexpr (kInfo.params == 1) {
      return F::Call(Get<V>(c.data[0], n), p0);
    } else {
      return F::Call(Get<V>(c.data[0], n));
    }
  }

  static void Run(const ElementwiseTile& tile) {
    using Out = std::conditional_t<kInfo.is_bool, bool, T>;
    const V p0 = V(static_cast<T>(kInfo.params > 0 ? tile.params[0] : 0));
    alignas(64) T splat[3][kLanes];
    alignas(64) bool splat_condition[kLanes];
    for (int64_t r = 0; r < tile.rows; ++r) {
      Cursor c = {};
      for (int i = 0; i < kInputs; ++i) {
        c.step[i] = tile.in_col[i] * kLanes;
        if (kBoolFirst && i == 0) {
          c.condition = static_cast<const bool*>(tile.in[0]) + r * tile.in_row[0];
          if (tile.in_col[0] == 0) {
            for (int l = 0; l < kLanes; ++l) splat_condition[l] = *c.condition;
            c.condition = splat_condition;
          }
        } else {
          c.data[i] = static_cast<const T*>(tile.in[i]) + r * tile.in_row[i];
          if (tile.in_col[i] == 0) {
            Store(splat[i], V(*c.data[i]));
            c.data[i] = splat[i];
          }
        }
      }
      Out* out = static_cast<Out*>(tile.out) + r * tile.out_row;
      int64_t left = tile.cols;
      for (; left >= kLanes; left -= kLanes) {
        Store(out, Apply(c, p0, -1));
        out += kLanes;
        for (int i = 0; i < kInputs; ++i) {
          if (kBoolFirst && i == 0) {
            c.condition += c.step[0];
          } else {
            c.data[i] += c.step[i];
          }
        }
      }
      if (left > 0) StorePartial(out, left, Apply(c, p0, left));
    }
  }
};

template <class V, size_t... kIndex>
constexpr void FillTable(ElementwiseFn* fns, std::index_sequence<kIndex...>) {
  (
      [&] {
        constexpr ScalarOp kOp = static_cast<ScalarOp>(kIndex);
        if constexpr ((kernels::InfoOf(kOp).kinds & kernels::kFloats) != 0) {
          fns[kIndex] = &ElementLoop<One<kOp>, V>::Run;
        }
      }(),
      ...);
}

template <class V, size_t... kIndex>
constexpr void FillPairs(ElementwiseFn* fns, std::index_sequence<kIndex...>) {
  constexpr size_t kOps = std::size(kPairOps);
  (
      [&] {
        constexpr ScalarOp kFirst = kPairOps[kIndex / (kOps + 1)];
        constexpr size_t kSecond = kIndex % (kOps + 1);
        if constexpr (kSecond == kOps) {
          fns[kIndex] = &ElementLoop<Pair<kFirst, ScalarOp::kSubtract, true>, V>::Run;
        } else {
          fns[kIndex] = &ElementLoop<Pair<kFirst, kPairOps[kSecond], false>, V>::Run;
        }
      }(),
      ...);
}

#if OSTRIA_SIMD_ISA > 0
// A tail goes through a buffer: the vector conversion is the only one, so every element rounds
// alike.
template <bool kBf16>
void FromHalf(const uint16_t* src, float* dst, int64_t n) {
  constexpr int kLanes = VecF32::kLanes;
  for (; n >= kLanes; n -= kLanes, src += kLanes, dst += kLanes) {
    Store(dst, kBf16 ? LoadBf16(src) : LoadF16(src));
  }
  if (n > 0) {
    uint16_t tail[kLanes] = {};
    __builtin_memcpy(tail, src, n * 2);
    StorePartial(dst, n, kBf16 ? LoadBf16(tail) : LoadF16(tail));
  }
}
template <bool kBf16>
void ToHalf(const float* src, uint16_t* dst, int64_t n) {
  constexpr int kLanes = VecF32::kLanes;
  for (; n > 0; n -= kLanes, src += kLanes, dst += kLanes) {
    uint16_t tail[kLanes];
    uint16_t* out = n >= kLanes ? dst : tail;
    const VecF32 v = n >= kLanes ? LoadVec<VecF32>(src) : LoadVecPartial<VecF32>(src, n);
    if constexpr (kBf16) {
      StoreBf16(out, v);
    } else {
      StoreF16(out, v);
    }
    if (n < kLanes) __builtin_memcpy(dst, tail, n * 2);
  }
}
#endif

constexpr ElementwiseTable MakeElementwiseTable() {
  ElementwiseTable table = {};
  FillTable<VecF32>(table.f32, std::make_index_sequence<kernels::kNumScalarOps>());
  FillTable<VecF64>(table.f64, std::make_index_sequence<kernels::kNumScalarOps>());
  FillPairs<VecF32>(table.pair_f32, std::make_index_sequence<kNumPairs>());
  FillPairs<VecF64>(table.pair_f64, std::make_index_sequence<kNumPairs>());
#if OSTRIA_SIMD_ISA > 0
  table.from_half[0] = &FromHalf<false>;
  table.from_half[1] = &FromHalf<true>;
  table.to_half[0] = &ToHalf<false>;
  table.to_half[1] = &ToHalf<true>;
#endif
  return table;
}

}  // namespace OSTRIA_ISA_NS
}  // namespace simd
}  // namespace ostria
