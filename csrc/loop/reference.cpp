// SPDX-License-Identifier: Apache-2.0
// The meaning of a program: every instruction over the whole space, one element at a time.
#include <algorithm>

#include "kernels/scalar/philox.h"
#include "loop/cell.h"
#include "loop/program.h"

namespace ostria {
namespace {

using Cells = std::vector<Cell>;  // one per place of the space

// Integers wrap.
template <class T>
T FoldTwo(LoopFold fold, T a, T b) {
  if (fold == LoopFold::kMax || fold == LoopFold::kMin) {
    if constexpr (std::is_floating_point_v<T>) {
      return fold == LoopFold::kMax ? kernels::Maximum(a, b) : kernels::Minimum(a, b);
    } else {
      return fold == LoopFold::kMax ? std::max(a, b) : std::min(a, b);
    }
  }
  if constexpr (std::is_floating_point_v<T>) {
    return fold == LoopFold::kSum ? a + b : a * b;
  } else {
    const auto x = static_cast<uint64_t>(a), y = static_cast<uint64_t>(b);
    return static_cast<T>(fold == LoopFold::kSum ? x + y : x * y);
  }
}

// Elements are folded in order, floats in double: the most exact of all orders.
template <class T>
void Fold(const LoopInstr& i, const Cells& x, Cells& out, int64_t rows, int64_t cols, bool along) {
  for (int64_t k = 0; k < (along ? rows : cols); ++k) {
    const int64_t n = along ? cols : rows, begin = along ? k * cols : k, step = along ? 1 : cols;
    std::conditional_t<std::is_floating_point_v<T>, double, T> total = x[begin].As<T>();
    for (int64_t j = 1; j < n; ++j) {
      const decltype(total) y = x[begin + j * step].As<T>();
      total = FoldTwo(i.fold, total, y);
    }
    for (int64_t j = 0; j < n; ++j) out[begin + j * step] = Cell::Of(static_cast<T>(total));
  }
}

int64_t Offset(const LoopProgram& p, const LoopOperand& o, int64_t place) {
  int64_t offset = 0;
  for (int d = p.rank() - 1; d >= 0; place /= p.sizes[d], --d) {
    offset += place % p.sizes[d] * o.strides[d];
  }
  return offset;
}

// The word of element `at` of the space, of the program's random numbers.
uint32_t Word(const LoopInstr& i, const void* key, uint64_t at) {
  const auto* numbers = static_cast<const uint64_t*>(key);
  const uint64_t k = numbers[0] ^ kernels::MixStream(static_cast<uint64_t>(i.stream));
  uint32_t c[4] = {static_cast<uint32_t>(at / 4), static_cast<uint32_t>(at / 4 >> 32),
                   static_cast<uint32_t>(numbers[1]), static_cast<uint32_t>(numbers[1] >> 32)};
  kernels::Philox(c, static_cast<uint32_t>(k), static_cast<uint32_t>(k >> 32));
  return c[at % 4];
}

}  // namespace

void RunReference(const LoopProgram& p, std::span<const void* const> inputs,
                  std::span<void* const> outputs) {
  const int64_t rows = p.rows(), cols = p.cols(), n = rows * cols;
  std::vector<Cells> values;
  for (const LoopInstr& i : p.code) {
    Cells out(static_cast<size_t>(n));
    const auto arg = [&](int k, int64_t at) {
      return i.args[k] < 0 ? Cell() : values[i.args[k]][at];
    };
    if (i.kind == LoopKind::kFoldCols || i.kind == LoopKind::kFoldRows) {
      const bool along = i.kind == LoopKind::kFoldCols;
      Dispatch(i.dtype, [&]<class T>(T) { Fold<T>(i, values[i.args[0]], out, rows, cols, along); });
    }
    LoopOperand axis{.strides = std::vector<int64_t>(p.sizes.size())};
    if (i.kind == LoopKind::kIndex) axis.strides[i.operand] = 1;
    for (int64_t at = 0; at < n; ++at) {
      if (i.kind == LoopKind::kLoad) {
        const LoopOperand& o = p.inputs[i.operand];
        DispatchDType(o.dtype, [&]<class T>(T*) {
          const T x = static_cast<const T*>(inputs[i.operand])[Offset(p, o, at)];
          if constexpr (std::is_arithmetic_v<T>)
            out[at] = Cell::Of(x);
          else
            out[at] = Cell::Of(static_cast<float>(x));
        });
      } else if (i.kind == LoopKind::kNumber) {
        out[at] = Dispatch(i.dtype, [&]<class T>(T) { return Cell::Of(Convert<T>(i.number[0])); });
      } else if (i.kind == LoopKind::kIndex) {
        const int64_t index = Offset(p, axis, at);
        out[at] = Dispatch(i.dtype, [&]<class T>(T) { return Cell::Of(static_cast<T>(index)); });
      } else if (i.kind == LoopKind::kDraw) {
        const auto first = static_cast<uint64_t>(arg(0, at).As<int64_t>());
        const uint32_t word = Word(i, inputs[i.operand], first + static_cast<uint64_t>(at));
        out[at] = Cell::Of(word < kernels::WordLimit(i.number[0]));
      } else if (i.kind == LoopKind::kCast) {
        out[at] = Dispatch(p.code[i.args[0]].dtype, [&]<class From>(From) {
          const From x = arg(0, at).template As<From>();
          return Dispatch(i.dtype, [&]<class To>(To) { return Cell::Of(Convert<To>(x)); });
        });
      } else if (i.kind == LoopKind::kScalar) {
        const DType dtype = p.code[i.args[i.op == kernels::ScalarOp::kWhere ? 1 : 0]].dtype;
        out[at] = Dispatch(
            dtype, [&]<class T>(T) { return ApplyOp<T>(i, arg(0, at), arg(1, at), arg(2, at)); });
      }
    }
    values.push_back(std::move(out));
  }
  for (size_t k = 0; k < p.outputs.size(); ++k) {
    const LoopOperand& o = p.outputs[k];
    for (int64_t at = 0; at < n; ++at) {
      DispatchDType(o.dtype, [&]<class T>(T*) {
        T* to = static_cast<T*>(outputs[k]) + Offset(p, o, at);
        if constexpr (std::is_arithmetic_v<T>)
          *to = values[o.value][at].template As<T>();
        else
          *to = T(values[o.value][at].template As<float>());
      });
    }
  }
}

}  // namespace ostria
