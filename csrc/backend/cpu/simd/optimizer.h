// SPDX-License-Identifier: Apache-2.0
// Optimizer steps over flat ranges of weights and slots. T is float or double. Keras's formulas:
//   sgd      velocity = momentum * velocity - lr * g;  w += velocity   (nesterov: momentum *
//   velocity - lr * g) adam     m += (g - m)(1 - beta1); v += (g^2 - v)(1 - beta2); w -= alpha * m
//   / (sqrt(v) + epsilon),
//            alpha = lr * sqrt(1 - beta2^t) / (1 - beta1^t)
//   adagrad  a += g^2;  w -= lr * g / sqrt(a + epsilon)
// with g = grad_scale * gradient, and w *= 1 - lr * weight_decay first (decoupled, as AdamW).
#pragma once

#include <cstdint>

namespace ostria {

/// A range of weights with its gradient and slots. Join adjacent ranges: each costs a loop start.
template <class T>
struct OptimizerSegment {
  T* w;
  const T* g;  // n elements; with `column` a row of `cols`
  T* m;        // velocity (sgd; null without momentum), first moment (adam), accumulator (adagrad)
  T* v;        // second moment (adam)
  int64_t n;
  const T* column = nullptr;  // not null: weight i has the gradient column[i / cols] g[i % cols]
  int64_t cols = 0;
};

struct SgdOptions {
  double learning_rate = 0.01, momentum = 0;
  bool nesterov = false;
  double weight_decay = 0, grad_scale = 1;
};
struct AdamOptions {
  double learning_rate = 0.001, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-7;
  int64_t step = 1;  // of this update, counted from 1
  double weight_decay = 0, grad_scale = 1;
};
struct AdagradOptions {
  double learning_rate = 0.001, epsilon = 1e-7, weight_decay = 0, grad_scale = 1;
};

template <class T>
void SgdUpdate(const SgdOptions& options, const OptimizerSegment<T>* segments, int count);
template <class T>
void AdamUpdate(const AdamOptions& options, const OptimizerSegment<T>* segments, int count);
template <class T>
void AdagradUpdate(const AdagradOptions& options, const OptimizerSegment<T>* segments, int count);

}  // namespace ostria
