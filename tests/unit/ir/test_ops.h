// SPDX-License-Identifier: Apache-2.0
// A handful of ops with every kind of attribute, arity and result, so that tests of the graph
// depend on no real op. They take the place of the generated manifest in this binary.
#pragma once

#include "ir/builder.h"
#include "ir/graph.h"

namespace ostria::test {

extern const OpDef kAdd;      // (a, b): equal types
extern const OpDef kNeg;      // (x)
extern const OpDef kTake;     // (x, y?) {times: int = 1}: x's type
extern const OpDef kSplit;    // (x) {n: int}: n values of x's type
extern const OpDef kReshape;  // (x) {shape: shape}
extern const OpDef kConst;    // () {value: tensor}
extern const OpDef kConfig;   // (xs…) {flag, rate, name, dtype, sizes}: scalar of `dtype`
extern const OpDef kCall;     // (xs…) {body}: the body's outputs

inline ValueType F32(Shape shape) { return {DType::kFloat32, shape}; }

}  // namespace ostria::test
