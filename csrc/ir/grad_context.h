// SPDX-License-Identifier: Apache-2.0
// What a gradient rule sees: its node's inputs, outputs and their cotangents, and a Builder
// positioned after everything so far. An interface on the left; autodiff/ implements it.
#pragma once

#include <span>
#include <vector>

#include "ir/builder.h"

namespace ostria {

class GradContext {
 public:
  GradContext(Builder& builder, NodeId node) : b(builder), node_(node) {}
  virtual ~GradContext() = default;

  Builder& b;

  NodeId node() const { return node_; }
  int size() const { return b.graph().num_operands(node_); }
  Value input(int i) const { return b.graph().operand(node_, i); }
  Value output(int i = 0) const { return b.graph().result(node_, i); }
  template <class T>
  const T& attr(int i) const {
    return b.graph().attr<T>(node_, i);
  }
  /// Whether anybody wants the cotangent of input `i`; rules skip work for those nobody wants.
  virtual bool Needs(int i) const = 0;
  /// Whether output `i` has a cotangent at all; cotangent(i) makes zeros when it has none.
  virtual bool HasCotangent(int i) const = 0;
  virtual Value cotangent(int i = 0) = 0;
  /// Adds `g` to the cotangent of input `i`; its shape and dtype are the input's.
  virtual void Set(int i, Value g) = 0;
  /// The vector-Jacobian product of a closed body: a body whose inputs are the body's inputs
  /// followed by one cotangent per output, and whose outputs are one cotangent per input (zeros
  /// where none).
  virtual Body DifferentiateBody(const Graph& body) = 0;
  /// Differentiates the node through its decomposition instead: for what a rule has no op for.
  /// The rule must not have called Set or cotangent before.
  virtual void ThroughDecomposition() = 0;

 private:
  NodeId node_;
};

}  // namespace ostria
