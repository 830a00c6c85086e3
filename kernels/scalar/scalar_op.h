// SPDX-License-Identifier: Apache-2.0
// The list of element functions: the only place that names them all. Dispatch tables, drivers and
// tests are generated from OSTRIA_SCALAR_OPS; each entry's arithmetic is Functor<op> (functors.h,
// floats) and IntFunctor<op> (int_functors.h). Nothing here knows dtypes beyond their kind.
#pragma once

#include <cstdint>

namespace ostria::kernels {

/// Kinds of element an op is defined for; a bit set.
enum ScalarKind : uint8_t { kFloats = 1, kInts = 2, kBools = 4 };

// X(enumerator, "name", data inputs, parameters, result is bool, kinds)
// Parameters are per-call scalars (slope, alpha) that follow the inputs in the functor's signature.
#define OSTRIA_SCALAR_OPS(X)                                              \
  X(kAdd, "add", 2, 0, false, kFloats | kInts)                            \
  X(kSubtract, "subtract", 2, 0, false, kFloats | kInts)                  \
  X(kMultiply, "multiply", 2, 0, false, kFloats | kInts)                  \
  X(kDivide, "divide", 2, 0, false, kFloats)                              \
  X(kMaximum, "maximum", 2, 0, false, kFloats | kInts | kBools)           \
  X(kMinimum, "minimum", 2, 0, false, kFloats | kInts | kBools)           \
  X(kPow, "pow", 2, 0, false, kFloats | kInts)                            \
  X(kMod, "mod", 2, 0, false, kFloats | kInts)                            \
  X(kFloorDivide, "floor_divide", 2, 0, false, kFloats | kInts)           \
  X(kAtan2, "atan2", 2, 0, false, kFloats)                                \
  X(kHypot, "hypot", 2, 0, false, kFloats)                                \
  X(kLogAddExp, "logaddexp", 2, 0, false, kFloats)                        \
  X(kCopySign, "copysign", 2, 0, false, kFloats)                          \
  X(kNextAfter, "nextafter", 2, 0, false, kFloats)                        \
  X(kEqual, "equal", 2, 0, true, kFloats | kInts | kBools)                \
  X(kNotEqual, "not_equal", 2, 0, true, kFloats | kInts | kBools)         \
  X(kLess, "less", 2, 0, true, kFloats | kInts | kBools)                  \
  X(kLessEqual, "less_equal", 2, 0, true, kFloats | kInts | kBools)       \
  X(kGreater, "greater", 2, 0, true, kFloats | kInts | kBools)            \
  X(kGreaterEqual, "greater_equal", 2, 0, true, kFloats | kInts | kBools) \
  X(kLogicalAnd, "logical_and", 2, 0, true, kFloats | kInts | kBools)     \
  X(kLogicalOr, "logical_or", 2, 0, true, kFloats | kInts | kBools)       \
  X(kLogicalXor, "logical_xor", 2, 0, true, kFloats | kInts | kBools)     \
  X(kBitwiseAnd, "bitwise_and", 2, 0, false, kInts | kBools)              \
  X(kBitwiseOr, "bitwise_or", 2, 0, false, kInts | kBools)                \
  X(kBitwiseXor, "bitwise_xor", 2, 0, false, kInts | kBools)              \
  X(kBitwiseLeftShift, "bitwise_left_shift", 2, 0, false, kInts)          \
  X(kBitwiseRightShift, "bitwise_right_shift", 2, 0, false, kInts)        \
  X(kTanhGrad, "tanh_grad", 2, 0, false, kFloats)                         \
  X(kSigmoidGrad, "sigmoid_grad", 2, 0, false, kFloats)                   \
  X(kReluGrad, "relu_grad", 2, 0, false, kFloats)                         \
  X(kGeluGrad, "gelu_grad", 2, 0, false, kFloats)                         \
  X(kGeluTanhGrad, "gelu_tanh_grad", 2, 0, false, kFloats)                \
  X(kNegative, "negative", 1, 0, false, kFloats | kInts)                  \
  X(kAbs, "abs", 1, 0, false, kFloats | kInts)                            \
  X(kSign, "sign", 1, 0, false, kFloats | kInts)                          \
  X(kExp, "exp", 1, 0, false, kFloats)                                    \
  X(kLog, "log", 1, 0, false, kFloats)                                    \
  X(kSqrt, "sqrt", 1, 0, false, kFloats)                                  \
  X(kRsqrt, "rsqrt", 1, 0, false, kFloats)                                \
  X(kSquare, "square", 1, 0, false, kFloats | kInts)                      \
  X(kReciprocal, "reciprocal", 1, 0, false, kFloats)                      \
  X(kTanh, "tanh", 1, 0, false, kFloats)                                  \
  X(kSigmoid, "sigmoid", 1, 0, false, kFloats)                            \
  X(kErf, "erf", 1, 0, false, kFloats)                                    \
  X(kGelu, "gelu", 1, 0, false, kFloats)                                  \
  X(kGeluTanh, "gelu_tanh", 1, 0, false, kFloats)                         \
  X(kRelu, "relu", 1, 0, false, kFloats | kInts)                          \
  X(kLeakyRelu, "leaky_relu", 1, 1, false, kFloats)                       \
  X(kElu, "elu", 1, 1, false, kFloats)                                    \
  X(kSelu, "selu", 1, 0, false, kFloats)                                  \
  X(kSilu, "silu", 1, 0, false, kFloats)                                  \
  X(kSoftplus, "softplus", 1, 0, false, kFloats)                          \
  X(kLog1p, "log1p", 1, 0, false, kFloats)                                \
  X(kLog2, "log2", 1, 0, false, kFloats)                                  \
  X(kLog10, "log10", 1, 0, false, kFloats)                                \
  X(kExpm1, "expm1", 1, 0, false, kFloats)                                \
  X(kSin, "sin", 1, 0, false, kFloats)                                    \
  X(kCos, "cos", 1, 0, false, kFloats)                                    \
  X(kTan, "tan", 1, 0, false, kFloats)                                    \
  X(kAsin, "asin", 1, 0, false, kFloats)                                  \
  X(kAcos, "acos", 1, 0, false, kFloats)                                  \
  X(kAtan, "atan", 1, 0, false, kFloats)                                  \
  X(kSinh, "sinh", 1, 0, false, kFloats)                                  \
  X(kCosh, "cosh", 1, 0, false, kFloats)                                  \
  X(kAsinh, "asinh", 1, 0, false, kFloats)                                \
  X(kAcosh, "acosh", 1, 0, false, kFloats)                                \
  X(kAtanh, "atanh", 1, 0, false, kFloats)                                \
  X(kFloor, "floor", 1, 0, false, kFloats | kInts)                        \
  X(kCeil, "ceil", 1, 0, false, kFloats | kInts)                          \
  X(kRound, "round", 1, 0, false, kFloats | kInts)                        \
  X(kTrunc, "trunc", 1, 0, false, kFloats | kInts)                        \
  X(kIsFinite, "isfinite", 1, 0, true, kFloats | kInts)                   \
  X(kIsNan, "isnan", 1, 0, true, kFloats | kInts)                         \
  X(kIsInf, "isinf", 1, 0, true, kFloats | kInts)                         \
  X(kSignBit, "signbit", 1, 0, true, kFloats)                             \
  X(kLogicalNot, "logical_not", 1, 0, true, kFloats | kInts | kBools)     \
  X(kBitwiseInvert, "bitwise_invert", 1, 0, false, kInts | kBools)        \
  X(kWhere, "where", 3, 0, false, kFloats | kInts | kBools)               \
  X(kClip, "clip", 3, 0, false, kFloats | kInts)                          \
  X(kFma, "fma", 3, 0, false, kFloats | kInts)

enum class ScalarOp : uint16_t {
#define OSTRIA_ENTRY(id, name, inputs, params, is_bool, kinds) id,
  OSTRIA_SCALAR_OPS(OSTRIA_ENTRY)
#undef OSTRIA_ENTRY
};

struct ScalarOpInfo {
  const char* name;
  int8_t arity;  // data inputs; where's first is always bool
  int8_t params;
  bool is_bool;  // the result is bool whatever the inputs
  uint8_t kinds;
};

inline constexpr ScalarOpInfo kScalarOpInfo[] = {
#define OSTRIA_ENTRY(id, name, inputs, params, is_bool, kinds) \
  {name, inputs, params, is_bool, kinds},
    OSTRIA_SCALAR_OPS(OSTRIA_ENTRY)
#undef OSTRIA_ENTRY
};
inline constexpr int kNumScalarOps = sizeof(kScalarOpInfo) / sizeof(kScalarOpInfo[0]);

constexpr const ScalarOpInfo& InfoOf(ScalarOp op) { return kScalarOpInfo[static_cast<int>(op)]; }
constexpr const char* Name(ScalarOp op) { return InfoOf(op).name; }
constexpr int Arity(ScalarOp op) { return InfoOf(op).arity; }

}  // namespace ostria::kernels
