// SPDX-License-Identifier: Apache-2.0
// What matmul_fused does with a product before it leaves the registers, and which operand and which
// result it has for that: the one table that the op, its kernels and the passes read. z is the
// product with its bias; sums over rows are what the gradient of a bias is.
#pragma once

#include <cstdint>
#include <string_view>

#include "ops/common/activation.h"

namespace ostria::ops {

/// The first ones are those of Activation, in its order.
enum class Epilogue : uint8_t {
  kNone,
  kRelu,
  kTanh,
  kSigmoid,
  kGelu,
  kGeluTanh,
  kSilu,
  kReluMask,
  kGeluTanhKept,
  kReluGrad,
  kGeluTanhGrad,
  kReluGradSum,
  kGeluTanhGradSum,
  kSumA,
  kSumB
};

/// What the third operand of a product [.., m, n] is.
enum class EpilogueOperand : uint8_t {
  kBias,           // [n], and may be left out
  kMask,           // [.., m, MaskBytes(n)] of uint8, see kMask below
  kPreactivation,  // [.., m, n]
  kNothing
};

/// What the second result is.
enum class EpilogueResult : uint8_t {
  kNothing,
  kMask,           // [.., m, MaskBytes(n)] of uint8: bit j % 8 of byte j / 8 says z[.., j] > 0
  kPreactivation,  // z
  kSumOfRows,      // [n]: over all rows of the first result
  kSumOfA,         // [m]: a summed over what the product sums; one product, no batch
  kSumOfB          // [n]: b likewise
};

struct EpilogueDef {
  std::string_view name;  // as it is printed
  Activation activation = Activation::kNone;
  EpilogueOperand third = EpilogueOperand::kBias;
  EpilogueResult second = EpilogueResult::kNothing;

  /// Whether the product is multiplied by the activation's derivative instead.
  bool is_gradient() const {
    return third == EpilogueOperand::kMask || third == EpilogueOperand::kPreactivation;
  }
  /// Whether a bias and an activation are all there is.
  bool is_simple() const {
    return third == EpilogueOperand::kBias && second == EpilogueResult::kNothing;
  }
};

const EpilogueDef& DefOf(Epilogue epilogue);

/// Reads a name; false for anything else.
bool ParseEpilogue(std::string_view text, Epilogue* out);
/// Throws the error of an unknown epilogue with all names.
Epilogue RequireEpilogue(const InferContext& c, int attr);

/// The epilogue that is the activation's gradient; kNone where there is none.
Epilogue GradientOf(Activation activation);
/// The gradient `epilogue` with the sum of its rows.
Epilogue WithSum(Epilogue epilogue);

/// Bytes of one row of a mask: whole words of 128 bits.
constexpr int64_t MaskBytes(int64_t n) { return (n + 127) / 128 * 16; }

/// In simpler ops: a mask of where `z` is positive, and `g` where the mask says so, else 0.
Value PackMask(Builder& b, Value z);
Value ApplyMask(Builder& b, Value g, Value mask);

}  // namespace ostria::ops
