// SPDX-License-Identifier: Apache-2.0
// The activations that matmul_fused and conv_fused can carry out on their result: exactly those
// that a library can do while the result is still in registers. What else a product can end in
// stands in epilogue.h.
#pragma once

#include <cstdint>
#include <string_view>

#include "ir/builder.h"

namespace ostria::ops {

enum class Activation : uint8_t { kNone, kRelu, kTanh, kSigmoid, kGelu, kGeluTanh, kSilu };

/// Reads "none", "relu", "tanh", "sigmoid", "gelu", "gelu_tanh", "silu"; false for anything else.
bool ParseActivation(std::string_view text, Activation* out);
/// What a node of `op` with these attributes is; kNone when a library cannot do it.
Activation ActivationOf(const OpDef& op, std::span<const Attr> attrs);
std::string_view Name(Activation activation);
/// A node for the activation, or `x` itself for kNone.
Value Apply(Builder& b, Activation activation, Value x);
/// Whose gradient a node is that a library can multiply a product by: relu's or gelu_tanh's, else
/// kNone.
Activation ActivationGradOf(const OpDef& op, std::span<const Attr> attrs);
/// Throws the error of an unknown activation with all names.
Activation RequireActivation(const InferContext& c, int attr);

}  // namespace ostria::ops
