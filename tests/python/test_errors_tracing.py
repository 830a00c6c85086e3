# SPDX-License-Identifier: Apache-2.0
"""Mistakes in traced functions, layers and training: what the user reads, word for word.

Each message has the op, what was given, what is accepted, what to try, and the user's own line,
which is the one marked `# <-`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mistakes import Mistakes, check, x

import ostria as ost
from ostria import nn

mistake = Mistakes()


# --- Python on traced values ----------------------------------------------------------------------


@mistake(
    TypeError,
    "bool() needs the value of a traced tensor (bool[], made at {line-0}), which is not "
    "known while the function is traced; use ost.where or ost.maximum for a choice by "
    "value, and ost.compile(fn, eager=True) to look at values {line}",
)
def if_on_a_traced_value() -> None:
    def f(x):
        y = ost.sum(x)
        return x if y > 0.0 else -x  # <-

    ost.compile(f)(x())


@mistake(
    TypeError,
    "float() needs the value of a traced tensor (float32[], made at {line-1}), which is "
    "not known while the function is traced; use ost.where or ost.maximum for a choice "
    "by value, and ost.compile(fn, eager=True) to look at values {line}",
)
def float_of_a_traced_value() -> None:
    def f(x):
        y = ost.sum(x)
        return x * float(y)  # <-

    ost.compile(f)(x())


@mistake(
    ValueError,
    "GradientTape: a tape records ops while they run, but this function is being traced; use "
    "ost.gradients(loss, variables) in it, or enter the tape outside {line}",
)
def tape_in_a_compiled_function() -> None:
    def f(x):
        with ost.GradientTape() as tape:  # <-
            y = ost.sum(x)
        return tape.gradient(y, x)

    ost.compile(f)(x())


@mistake(
    TypeError,
    "int() needs the value of a traced tensor (float32[], made at {line-1}), which is "
    "not known while the function is traced; use ost.where or ost.maximum for a choice "
    "by value, and ost.compile(fn, eager=True) to look at values {line}",
)
def int_of_a_traced_value() -> None:
    def f(x):
        y = ost.sum(x)
        return x * int(y)  # <-

    ost.compile(f)(x())


@mistake(
    TypeError,
    "an index needs the value of a traced tensor (int64[], made at {line-1}), which is "
    "not known while the function is traced; use ost.where or ost.maximum for a choice "
    "by value, and ost.compile(fn, eager=True) to look at values {line}",
)
def range_of_a_traced_value() -> None:
    def f(x):
        y = ost.argmax(x)
        return [x for _ in range(y)]  # <-

    ost.compile(f)(x())


@mistake(
    TypeError,
    "numpy() needs the value of a traced tensor (float32[8, 10], made at {line-1}), "
    "which is not known while the function is traced; use ost.where or ost.maximum for a "
    "choice by value, and ost.compile(fn, eager=True) to look at values {line}",
)
def numpy_of_a_traced_value() -> None:
    def f(x):
        y = x + 1.0
        return y.numpy()  # <-

    ost.compile(f)(x())


@mistake(
    TypeError,
    "item() needs the value of a traced tensor (float32[], made at {line-1}), which is "
    "not known while the function is traced; use ost.where or ost.maximum for a choice "
    "by value, and ost.compile(fn, eager=True) to look at values {line}",
)
def item_of_a_traced_value() -> None:
    def f(x):
        y = ost.sum(x)
        return y.item()  # <-

    ost.compile(f)(x())


@mistake(
    TypeError,
    "NumPy needs the value of a traced tensor (float32[8, 10], made at {line-1}), "
    "which is not known while the function is traced; use ost.where or ost.maximum for a "
    "choice by value, and ost.compile(fn, eager=True) to look at values; instead of NumPy's "
    "functions use those of ostria {line}",
)
def numpy_function_of_a_traced_value() -> None:
    def f(x):
        y = x + 1.0
        return np.sort(y)  # <-

    ost.compile(f)(x())


@mistake(
    TypeError,
    "len() of a traced tensor whose batch size is not known; use x.shape[0], which may "
    "appear in shapes {line}",
)
def iteration_over_an_unknown_batch() -> None:
    def f(x):
        return [row for row in x]  # <-

    ost.compile(f, dynamic_batch=True)(x())


@mistake(
    TypeError,
    "indexing with a mask has a result whose size depends on data, which a traced "
    "function cannot have; keep the size with ost.where(mask, x, 0), or index outside the "
    "function {line}",
)
def mask_of_a_traced_value() -> None:
    def f(x):
        return x[x > 0.0]  # <-

    ost.compile(f)(x())


@mistake(
    TypeError,
    "a comparison needs the size `batch`, which is not known while the function is "
    "traced: one trace serves every batch size. Use it in shapes, or compile without "
    "dynamic_batch {line}",
)
def if_on_an_unknown_size() -> None:
    def f(x):
        return x if x.shape[0] > 3 else -x  # <-

    ost.compile(f, dynamic_batch=True)(x())


@mistake(
    TypeError,
    "an index or range() needs the size `batch`, which is not known while the function "
    "is traced: one trace serves every batch size. Use it in shapes, or compile without "
    "dynamic_batch {line}",
)
def range_of_an_unknown_size() -> None:
    def f(x):
        return [x for _ in range(x.shape[0])]  # <-

    ost.compile(f, dynamic_batch=True)(x())


@mistake(
    ValueError,
    "add: shapes [batch, 10] and [8, 10] do not broadcast: at axis -2 one has batch and "
    "the other 8; a symbolic dimension only fits itself or 1; expand or reshape one of "
    "them {line}",
)
def known_size_with_an_unknown_one() -> None:
    def f(x):
        return x + np.ones((8, 10), np.float32)  # <-

    ost.compile(f, dynamic_batch=True)(x())


@mistake(
    ValueError,
    "dense: weight 'kernel' needs the size `batch`, which is not known while tracing "
    "(shape [batch, 3]); only the batch dimension may be unknown (layer 'dense', Dense) {line}",
)
def weight_of_unknown_size() -> None:
    def f(x):
        return nn.Dense(3)(x.T)  # <-

    ost.compile(f, dynamic_batch=True)(x())


@mistake(
    ValueError,
    "add: a traced value (float32[8, 10], made at {line-5}) is used after its trace has "
    "ended; return it from the compiled function, or assign it to an ost.Variable {line}",
)
def traced_value_after_its_trace() -> Any:
    kept = []

    def f(x):
        y = x * 2.0
        kept.append(y)
        return y

    ost.compile(f)(x())
    return kept[0] + 1.0  # <-


@mistake(
    ValueError,
    "add: a traced value (float32[8, 10], made at {line-5}) is used after its trace has "
    "ended; return it from the compiled function, or assign it to an ost.Variable {line}",
)
def traced_value_in_a_later_trace() -> None:
    kept = []

    def f(x):
        y = x * 2.0
        kept.append(y)
        return y

    ost.compile(f)(x())
    ost.compile(lambda x: x + kept[0])(x())  # <-


@mistake(
    ValueError,
    "add: a value of an outer trace (float32[8, 10]) is used inside a function that is "
    "traced on its own; pass it as an argument {line}",
)
def value_of_an_outer_trace() -> None:
    def f(x):
        y = x * 2.0
        inner = ost._native.Trace("graph")
        inner.push()
        try:
            return y + 1.0  # <-
        finally:
            inner.pop()

    ost.compile(f)(x())


@mistake(
    TypeError,
    "a dict with keys of types int, str has no order to take its tensors in; give it "
    "keys of one type {line}",
)
def dict_without_an_order() -> None:
    ost.compile(lambda d: d)({1: x(), "a": x()})  # <-


# --- State, layers, losses ------------------------------------------------------------------------


@mistake(
    ValueError,
    "variable 'w': cannot assign a value of float32[3, 2]; it holds float32[2, 3]; use "
    "cast or reshape first {line}",
)
def assign_of_another_shape() -> None:
    v = ost.Variable(np.zeros((2, 3), np.float32), name="w")
    v.assign(np.zeros((3, 2), np.float32))  # <-


@mistake(
    ValueError,
    "variable 'w': cannot assign a value of float32[8, 10]; it holds float32[2, 3]; use "
    "cast or reshape first {line}",
)
def assign_of_another_shape_compiled() -> None:
    v = ost.Variable(np.zeros((2, 3), np.float32), name="w")

    def f(x):
        v.assign(x)  # <-

    ost.compile(f)(x())


@mistake(
    TypeError,
    "Variable: 'name' is missing; checkpoints find a variable by its name; give one, as "
    'in ost.Variable(0.0, name="counter") {line}',
)
def variable_without_a_name() -> None:
    ost.Variable(1.0)  # <-


@mistake(
    ValueError,
    "twice: there is a weight 'k' already; give it another name (layer 'twice', Twice) {line}",
)
def two_weights_of_one_name() -> None:
    class Twice(nn.Module):
        def build(self, shape):
            self.a = self.add_weight("k", (1,))
            self.b = self.add_weight("k", (1,))  # <-

    Twice()(x())


@mistake(
    ValueError,
    "module: two variables are named 'k'; make both modules attributes of one parent, so "
    "that their paths differ {line}",
)
def two_variables_of_one_name() -> None:
    model = nn.Module()
    model.a = ost.Variable(0.0, name="k")
    model.b = ost.Variable(0.0, name="k")
    model.state_dict()  # <-


@mistake(
    ValueError,
    "dense: needs an input of rank 2 or more ([batch, features]), but its shape is [4]; "
    "add a batch axis with ost.expand_dims (layer 'dense', Dense) {line}",
)
def dense_of_a_vector() -> None:
    nn.Dense(3)(ost.zeros((4,)))  # <-


@mistake(
    ValueError,
    "dense: its weights are for 10 features, but the last size of [2, 3] is another; "
    "build another layer for it (layer 'dense', Dense) {line}",
)
def dense_of_another_width() -> None:
    layer = nn.Dense(3)
    layer(x())
    layer(ost.zeros((2, 3)))  # <-


@mistake(
    ValueError,
    "conv2d: needs an input of rank 4 ([batch, height, width, channels]), but its shape "
    "is [8, 10] (layer 'conv2d', Conv2D) {line}",
)
def convolution_of_a_matrix() -> None:
    nn.Conv2D(3, 3)(x())  # <-


@mistake(
    ValueError,
    "conv2d: a window of height 30 does not fit into height 8 of input [1, 8, 8, 1] "
    "padded by 0 and 0; use a smaller window or padding \"same\" (layer 'conv2d', Conv2D) {line}",
)
def window_that_does_not_fit() -> None:
    nn.Conv2D(3, 30)(ost.zeros((1, 8, 8, 1)))  # <-


@mistake(
    ValueError,
    "padding 'sam' is not known; accepted are 'valid', 'same', or four numbers (top, "
    "bottom, left, right) (layer 'conv2d', Conv2D) {line}",
)
def unknown_padding() -> None:
    nn.Conv2D(3, 3, padding="sam")(ost.zeros((1, 8, 8, 1)))  # <-


@mistake(
    ValueError,
    "Conv2D: filters -3 is not accepted; give a positive integer {line}",
)
def filters_below_one() -> None:
    nn.Conv2D(-3, 3)  # <-


@mistake(
    ValueError,
    "activation 'rellu' is not known; did you mean 'relu'? Accepted: linear, relu, exponential, "
    "sigmoid, tanh, gelu, elu, selu, silu, softplus, leaky_relu, softmax, log_softmax, celu, glu, "
    "hard_shrink, hard_sigmoid, hard_silu, hard_tanh, log_sigmoid, mish, relu6, soft_shrink, "
    "softsign, sparse_plus, sparse_sigmoid, sparsemax, squareplus, tanh_shrink, swish, hard_swish. "
    "{line}",
)
def unknown_activation() -> None:
    nn.Dense(3, "rellu")  # <-


@mistake(
    ValueError,
    "initializer 'glorot' is not known; accepted are zeros, ones, uniform, "
    "random_uniform, normal, random_normal, truncated_normal, glorot_uniform, "
    "glorot_normal, he_uniform, he_normal, lecun_uniform, lecun_normal, orthogonal {line}",
)
def unknown_initializer() -> None:
    nn.Dense(3, kernel_initializer="glorot")  # <-


@mistake(
    ValueError,
    "regularizer 'l3' is not known; accepted are l1, l2, l1_l2, or a function {line}",
)
def unknown_regularizer() -> None:
    nn.Dense(3, kernel_regularizer="l3")  # <-


@mistake(
    ValueError,
    "Dropout: rate 1.0 is not accepted; give a number from 0 up to, but not, 1 {line}",
)
def dropout_of_everything() -> None:
    nn.Dropout(1.0)  # <-


@mistake(
    TypeError,
    "Sequential: <ufunc 'tanh'> is no layer; wrap functions in nn.Activation {line}",
)
def function_as_a_layer() -> None:
    nn.Sequential([np.tanh])  # <-


@mistake(
    ValueError,
    "dense: the state does not fit: missing nothing, left over ['a']; use strict=False "
    "to load what fits {line}",
)
def state_that_does_not_fit() -> None:
    nn.Dense(2).load_state_dict({"a": 1})  # <-


@mistake(
    ValueError,
    "summary: dense was never called, so its input is not known; give input_shape, such "
    "as (None, 28, 28, 1) {line}",
)
def summary_without_a_shape() -> None:
    nn.Dense(3).summary()  # <-


@mistake(
    ValueError,
    "mean_squared_error: y_true has shape [8, 3], but y_pred has [8, 2]; equal shapes "
    "are needed; give both one shape {line}",
)
def loss_of_other_shapes() -> None:
    ost.losses.MeanSquaredError()(ost.zeros((8, 3)), ost.zeros((8, 2)))  # <-


@mistake(
    TypeError,
    "sparse_categorical_crossentropy: y_true is float32[8], but labels are integers "
    "(class numbers); use ost.cast(y_true, ost.int64), or the categorical variant for "
    "one-hot labels {line}",
)
def loss_of_float_labels() -> None:
    ost.losses.SparseCategoricalCrossentropy()(ost.zeros((8,)), ost.zeros((8, 3)))  # <-


@mistake(
    ValueError,
    "Adam: learning_rate 'fast' is not accepted; give a number of at least 0, or a "
    "function of the step such as ost.optim.schedules.CosineDecay(...) {line}",
)
def learning_rate_of_text() -> None:
    ost.optim.Adam(learning_rate="fast")  # <-


@mistake(
    ValueError,
    "batch: batch_size is 0; it must be at least 1 {line}",
)
def batch_of_nothing() -> None:
    ost.data.Dataset.range(3).batch(0)  # <-


# --- Before and while it runs ---------------------------------------------------------------------


@mistake(
    ost.NonFiniteError,
    "log: output 0 (float32[8, 10]) holds NaN or infinity although every input is "
    "finite; inputs: float32[8, 10] {line}",
)
def nan_under_debug() -> None:
    def f(x):
        return ost.log(x - 2.0) * 2.0  # <-

    with ost.debug():
        ost.compile(f)(x())


@pytest.mark.parametrize(("fn", "error", "expected"), mistake.cases)
def test_message(fn: Any, error: type[BaseException], expected: str) -> None:
    check(fn, error, expected)
