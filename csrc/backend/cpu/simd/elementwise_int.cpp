// SPDX-License-Identifier: Apache-2.0
// Integer and bool elementwise loops: plain templates over IntFunctor<op>, compiled once. Bool
// values are read as bytes that may hold anything and written as 0 or 1.
#include <cstddef>
#include <type_traits>
#include <utility>

#include "backend/cpu/simd/elementwise_table.h"
#include "kernels/scalar/int_functors.h"

namespace ostria {
namespace {

using kernels::IntFunctor;
using kernels::ScalarOp;

template <ScalarOp op, class T>
void Loop(const ElementwiseTile& tile) {
  constexpr kernels::ScalarOpInfo kInfo = kernels::InfoOf(op);
  using First = std::conditional_t<op == ScalarOp::kWhere, bool, T>;
  using Out = std::conditional_t<kInfo.is_bool, bool, T>;
  for (int64_t r = 0; r < tile.rows; ++r) {
    const First* a = static_cast<const First*>(tile.in[0]) + r * tile.in_row[0];
    Out* out = static_cast<Out*>(tile.out) + r * tile.out_row;
    const int64_t sa = tile.in_col[0];
    if constexpr (kInfo.arity == 1) {
      for (int64_t i = 0; i < tile.cols; ++i) out[i] = IntFunctor<op>::Call(a[i * sa]);
    } else {
      const T* b = static_cast<const T*>(tile.in[1]) + r * tile.in_row[1];
      const int64_t sb = tile.in_col[1];
      if constexpr (kInfo.arity == 2) {
        if (sa == 1 && sb == 1) {
          for (int64_t i = 0; i < tile.cols; ++i) out[i] = IntFunctor<op>::Call(a[i], b[i]);
        } else {
          for (int64_t i = 0; i < tile.cols; ++i)
            out[i] = IntFunctor<op>::Call(a[i * sa], b[i * sb]);
        }
      } else {
        const T* c = static_cast<const T*>(tile.in[2]) + r * tile.in_row[2];
        const int64_t sc = tile.in_col[2];
        for (int64_t i = 0; i < tile.cols; ++i) {
          out[i] = IntFunctor<op>::Call(a[i * sa], b[i * sb], c[i * sc]);
        }
      }
    }
  }
}

struct IntTable {
  ElementwiseFn fns[9][kernels::kNumScalarOps];
};

template <class T, size_t... kIndex>
constexpr void Fill(ElementwiseFn* fns, std::index_sequence<kIndex...>) {
  constexpr uint8_t kKind = std::is_same_v<T, bool> ? kernels::kBools : kernels::kInts;
  (
      [&] {
        constexpr ScalarOp kOp = static_cast<ScalarOp>(kIndex);
        if constexpr ((kernels::InfoOf(kOp).kinds & kKind) != 0) fns[kIndex] = &Loop<kOp, T>;
      }(),
      ...);
}

// In the order of DType.
template <class... T>
constexpr IntTable MakeTable() {
  IntTable table = {};
  int row = 0;
  (Fill<T>(table.fns[row++], std::make_index_sequence<kernels::kNumScalarOps>()), ...);
  return table;
}
constinit const IntTable kTable =
    MakeTable<bool, int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t>();

}  // namespace

ElementwiseFn IntElementwise(kernels::ScalarOp op, int dtype) {
  return kTable.fns[dtype][static_cast<int>(op)];
}

}  // namespace ostria
