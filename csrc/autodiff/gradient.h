// SPDX-License-Identifier: Apache-2.0
// Reverse-mode differentiation, graph to graph. New nodes are appended; their locations are derived
// from the nodes they are the gradient of. The result is an ordinary graph: apply again for second
// derivatives.
#pragma once

#include <span>
#include <vector>

#include "ir/graph.h"

namespace ostria {

/// The gradient of sum(outputs[i] * cotangents[i]) with respect to each of `wrt`, each of wrt's
/// type; zeros where the outputs do not depend on it. `cotangents[i]` is of the type of outputs[i],
/// ones where invalid; an empty span is ones everywhere. Outputs and wrt must be floats.
/// `connected`, when given, says for each of `wrt` whether any gradient reached it. Throws
/// Error(kTypeError) for other dtypes, Error(kNotImplemented) where an op on the way has no
/// gradient.
std::vector<Value> Gradients(Graph& graph, std::span<const Value> outputs,
                             std::span<const Value> cotangents, std::span<const Value> wrt,
                             std::vector<bool>* connected = nullptr);

/// The vector-Jacobian product of a closed body: its inputs are the body's followed by one
/// cotangent per output; its outputs are one cotangent per input, zeros where there is none
/// (integers, bools).
Body DifferentiateBody(const Graph& body);

}  // namespace ostria
