// SPDX-License-Identifier: Apache-2.0
// LoopProgram: straight-line code in SSA form that runs for every point of an iteration space,
//   [outer axes..., column axes...]
// A row is a place in the outer axes. Folds over the columns give a value per row, which later code
// may read; folds over the rows give a value per column, which may only be stored. The functors of
// kernels/scalar are the only arithmetic. Half types are storage: values are float32 inside.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "core/dtype.h"
#include "core/shape.h"
#include "kernels/scalar/scalar_op.h"

namespace ostria {

enum class LoopKind : uint8_t {
  kLoad,      // an element of input `operand`, at the strides of that input
  kNumber,    // `number[0]`
  kIndex,     // the coordinate along axis `operand`
  kScalar,    // `op` of args; `number` are the functor's parameters
  kCast,      // args[0] as `dtype`, with the conversions of op `cast`
  kFoldCols,  // `fold` of args[0] over the columns: a value per row
  kFoldRows,  // `fold` of args[0] over the rows: a value per column, for stores only
  kDraw,      // bool, true for a share `number[0]` of the elements, by their random words
};

enum class LoopFold : uint8_t { kSum, kProd, kMax, kMin };

// A draw is of kernels/scalar/philox.h: input `operand` holds seed and step, args[0] is the number
// of the first element of the space, the others follow in row-major order.
struct LoopInstr {
  LoopKind kind = LoopKind::kNumber;
  DType dtype = DType::kFloat32;  // of the value
  kernels::ScalarOp op{};
  LoopFold fold{};
  int32_t operand = -1;
  int32_t args[3] = {-1, -1, -1};  // earlier instructions
  double number[2] = {0, 0};
  int64_t stream = 0;  // kDraw
  friend bool operator==(const LoopInstr&, const LoopInstr&) = default;
};

/// How an input or output lies in memory: elements from one place of an axis to the next, 0 where
/// every place is the same element.
struct LoopOperand {
  DType dtype = DType::kFloat32;
  std::vector<int64_t> strides;  // per axis of the space
  int32_t value = -1;            // outputs: the instruction whose value is stored
  friend bool operator==(const LoopOperand&, const LoopOperand&) = default;
};

struct LoopProgram {
  std::vector<int64_t> sizes;  // of the space; none is 0
  int column_axes = 0;         // how many of the last axes are columns
  std::vector<LoopOperand> inputs, outputs;
  std::vector<LoopInstr> code;

  int rank() const { return static_cast<int>(sizes.size()); }
  int64_t rows() const;
  int64_t cols() const;
  friend bool operator==(const LoopProgram&, const LoopProgram&) = default;
};

/// The axes that each instruction's value varies along, a bit set (bit d: axis d).
std::vector<uint8_t> LoopAxes(const LoopProgram& program);

/// The dtype that values of an operand's dtype have inside a program.
constexpr DType LoopDType(DType dtype) {
  return dtype == DType::kFloat16 || dtype == DType::kBFloat16 ? DType::kFloat32 : dtype;
}

/// Throws Error(kInvalidArgument) that names the instruction and what is wrong with it.
void Verify(const LoopProgram& program);

/// One line per instruction; Print(ParseLoop(Print(p))) == Print(p), and the programs are equal.
std::string Print(const LoopProgram& program);
/// Throws Error(kInvalidArgument) with the line. What it returns is verified.
LoopProgram ParseLoop(std::string_view text);

/// Runs the program, element by element with functors over float, double and integers: the meaning
/// of it, for tests. Inputs and outputs are dense or strided memory as the operands say.
void RunReference(const LoopProgram& program, std::span<const void* const> inputs,
                  std::span<void* const> outputs);

}  // namespace ostria
