// SPDX-License-Identifier: Apache-2.0
// What the files of elementwise/ share. Such a file is a row: name, doc,
// functor, gradient. Its shape and dtype rule is InferElementwise, its
// implementations are generated from the functor.
#pragma once

#include "ir/grad_context.h"
#include "kernels/scalar/scalar_op.h"
#include "ops/common/build.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria::ops {

inline constexpr InputDef kUnaryInputs[] = {{"x"}};
inline constexpr InputDef kBinaryInputs[] = {{"x"}, {"y"}};

inline constexpr Traits kSmooth = {.elementwise = true};
inline constexpr Traits kKinked = {.elementwise = true, .smooth = false};
inline constexpr Traits kSymmetric = {.elementwise = true, .commutative = true};
inline constexpr Traits kSymmetricKinked = {
    .elementwise = true, .commutative = true, .smooth = false};

/// Piecewise constant functions: zero wherever a derivative exists.
inline constexpr GradRule ZeroGrad = GradRule::Zero();

inline constexpr GradRule kBoolResult = NoGrad("the result is bool");
inline constexpr GradRule kIntegerOnly = NoGrad("it is defined on integers and bools only");

/// Adds `g` to input `i`'s cotangent after undoing the broadcast of that input.
inline void SetBroadcast(GradContext& c, int i, Value g) {
  const Shape shape = c.b.shape(c.input(i));
  c.Set(i, SumTo(c.b, g, shape));
}

}  // namespace ostria::ops
