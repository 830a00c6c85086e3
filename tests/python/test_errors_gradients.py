# SPDX-License-Identifier: Apache-2.0
"""Mistakes in asking for gradients: what the user reads, word for word."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mistakes import Mistakes, check, ints, x

import ostria as ost

mistake = Mistakes()


@mistake(
    TypeError,
    "grad: the function must return a float scalar, but it returned float32[8, 10]; "
    "reduce it with ost.mean or ost.sum {line}",
)
def gradient_of_no_scalar() -> None:
    ost.grad(lambda x: x)(x())  # <-


@mistake(
    TypeError,
    "grad: the function must return a float scalar, but it returned int64[]; reduce it "
    "with ost.mean or ost.sum {line}",
)
def gradient_of_an_int() -> None:
    ost.grad(lambda x: ost.sum(x * 2))(ints())  # <-


@mistake(
    TypeError,
    "gradient: a value to differentiate with respect to is int32[3], but only floats "
    "have gradients; cast it, or leave it out {line}",
)
def gradient_by_an_int() -> None:
    ost.grad(lambda x: ost.sum(ost.cast(x, "float32")))(ints())  # <-


@mistake(
    TypeError,
    "grad: argnums asks for argument 1, but 1 positional argument(s) were given {line}",
)
def gradient_by_a_missing_argument() -> None:
    ost.grad(lambda x: ost.sum(x), argnums=1)(x())  # <-


@mistake(
    ValueError,
    "gradients: no function is being traced and no tape records; call it inside a "
    "function given to ost.compile or ost.grad, or inside ost.GradientTape {line}",
)
def gradients_outside_a_trace() -> None:
    ost.gradients(x(), [x()])  # <-


@mistake(
    TypeError,
    "gradients: wrt is 3; give a list of tensors or Variables {line}",
)
def gradients_by_a_number() -> None:
    ost.gradients(lambda a: ost.sum(a), 3)  # <-


@mistake(
    TypeError,
    "gradients: wrt is a Tensor; give a list of tensors or Variables {line}",
)
def gradients_by_a_tensor() -> None:
    ost.compile(lambda a: ost.gradients(ost.sum(a), a))(x())  # <-


@mistake(
    TypeError,
    "gradients: cotangents is a Tensor; give a list of tensors {line}",
)
def gradients_of_a_tensor_of_cotangents() -> None:
    ost.compile(lambda a: ost.gradients(a * 2, [a], ost.ones((8, 10))))(x())  # <-


@mistake(
    ValueError,
    "gradients: cotangents has 1 element(s) for 3 output(s); give one for each output, None for "
    "ones, or differentiate fewer outputs {line}",
)
def one_cotangent_for_three_results() -> None:
    def f(a: Any, scale: Any, bias: Any) -> Any:
        return ost.gradients(ost.layer_norm(a, scale, bias), [a], [ost.ones((8, 10))])  # <-

    ost.compile(f)(x(), np.ones(10, np.float32), np.ones(10, np.float32))


@mistake(
    TypeError,
    "custom_gradient: <lambda>'s backward function returned 2 gradient(s) for 1 argument(s) {line}",
)
def too_many_gradients() -> None:
    twice = ost.custom_gradient(lambda a: (a * 1.0, lambda g: (g, g)))
    ost.grad(lambda a: ost.sum(twice(a)))(x())  # <-


@pytest.mark.parametrize(("fn", "error", "expected"), mistake.cases)
def test_message(fn: Any, error: type[BaseException], expected: str) -> None:
    check(fn, error, expected)
