// SPDX-License-Identifier: Apache-2.0
// Which functor an elementwise node is, and the numbers its attributes give it. The one rule for
// every backend and fuser:
//   bool attributes   each true one picks the next functor of the list (gelu, gelu_tanh)
//   float attributes  fill the functor's inputs that the op does not have (clip), then its
//   parameters
#pragma once

#include <span>

#include "ir/op_def.h"
#include "kernels/scalar/scalar_op.h"

namespace ostria::ops {

struct ScalarCall {
  kernels::ScalarOp op;
  int n_inputs = 0;          // data inputs that are operands of the node
  int n_constants = 0;       // data inputs after them, in `constants`
  double constants[2] = {};  // of the inputs' dtype
  double params[2] = {};
};

/// `op.scalar` must be set.
inline ScalarCall ScalarCallOf(const OpDef& op, std::span<const Attr> attrs) {
  ScalarCall call;
  call.n_inputs = static_cast<int>(op.inputs.size());
  int id = op.scalar.id, n_floats = 0;
  for (const Attr& attr : attrs) {
    if (const bool* next = std::get_if<bool>(&attr)) id += *next;
  }
  call.op = static_cast<kernels::ScalarOp>(id);
  const int missing = kernels::Arity(call.op) - call.n_inputs;
  for (const Attr& attr : attrs) {
    const double* value = std::get_if<double>(&attr);
    if (!value) continue;
    if (n_floats < missing) {
      call.constants[call.n_constants++] = *value;
    } else {
      call.params[n_floats - missing] = *value;
    }
    ++n_floats;
  }
  return call;
}

}  // namespace ostria::ops
