# SPDX-License-Identifier: Apache-2.0
"""Messages about values that do not convert, and about NumPy's functions, word for word."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mistakes import Mistakes, check, ints, x

import ostria as ost
from ostria import nn

mistake = Mistakes()

KNOWN_LATER = (
    "which is not known while the function is traced; use ost.where or ost.maximum for a choice by "
    "value, and ost.compile(fn, eager=True) to look at values"
)
BYTE = "does not fit int8, which holds -128..127; give a wider dtype"


# --- NumPy's functions ----------------------------------------------------------------------------


@mistake(
    TypeError,
    "numpy.sin does not take ostria tensors; use ost.sin(...), or outside of traced functions "
    "NumPy on x.numpy() {line}",
)
def ufunc_of_a_traced_value() -> None:
    def f(x: Any) -> Any:
        return np.sin(x)  # <-

    ost.compile(f)(x())


@mistake(
    TypeError,
    "numpy.arctan does not take ostria tensors; use ost.atan(...), or outside of traced functions "
    "NumPy on x.numpy() {line}",
)
def ufunc_of_another_name() -> None:
    np.arctan(x())  # <-


@mistake(
    TypeError,
    "numpy.add.reduce does not take ostria tensors; use functions of ostria, or outside of traced "
    "functions NumPy on x.numpy() {line}",
)
def method_of_a_ufunc() -> None:
    np.add.reduce(x())  # <-


@mistake(
    TypeError,
    "numpy.add does not take ostria tensors; use ost.add(...), which gives a new tensor; x = x + y "
    "instead of x += y, or outside of traced functions NumPy on x.numpy() {line}",
)
def tensor_added_to_an_array_in_place() -> None:
    a = np.ones((8, 10), np.float32)
    a += x()  # <-


@mistake(
    TypeError,
    "NumPy needs the value of a traced tensor (float32[8, 10], made at {line-0}), "
    f"{KNOWN_LATER}; instead of NumPy's functions use those of ostria {{line}}",
)
def array_function_of_a_traced_value() -> None:
    ost.compile(lambda x: np.concatenate([x + 1.0, x]))(x())  # <-


@mistake(
    TypeError,
    "the format '.2f' needs the value of a traced tensor (float32[], made at {line-0}), "
    f"{KNOWN_LATER} {{line}}",
)
def format_of_a_traced_value() -> None:
    ost.compile(lambda x: f"{ost.sum(x):.2f}")(x())  # <-


@mistake(
    ValueError,
    "the format '.2f' needs a tensor of one element, but this one has shape [8, 10]; use ost.any "
    "or ost.all for a truth value, numpy() for the data {line}",
)
def format_of_many_elements() -> None:
    _ = f"{x():.2f}"  # <-


# --- Numbers that do not fit ----------------------------------------------------------------------


@mistake(
    TypeError,
    "asarray: the number 9223372036854775808 does not fit int64, which holds "
    "-9223372036854775808..9223372036854775807; give a wider dtype {line}",
)
def number_beyond_int64() -> None:
    ost.asarray(2**63)  # <-


@mistake(TypeError, f"asarray: the number 300 {BYTE} {{line}}")
def number_beyond_int8() -> None:
    ost.asarray(300, dtype="int8")  # <-


@mistake(TypeError, f"asarray: the number nan {BYTE} {{line}}")
def nan_as_an_integer() -> None:
    ost.asarray(float("nan"), dtype="int8")  # <-


@mistake(TypeError, f"asarray: the number -129.0 {BYTE} {{line}}")
def list_beyond_int8() -> None:
    ost.asarray([[1.0, -129.0]], dtype="int8")  # <-


@mistake(
    TypeError,
    "asarray: cannot make a tensor of int64 of [[1], [2, 3]]; nested lists must hold numbers in "
    "its range only, and as many in each row {line}",
)
def ragged_list() -> None:
    ost.asarray([[1], [2, 3]], dtype="int64")  # <-


@mistake(
    TypeError,
    "full: the number -1 does not fit uint8, which holds 0..255; give a wider dtype {line}",
)
def fill_beyond_uint8() -> None:
    ost.full((2,), -1, dtype="uint8")  # <-


@mistake(TypeError, f"arange: the number 298 {BYTE} {{line}}")
def range_beyond_int8() -> None:
    ost.arange(0, 300, 2, dtype="int8")  # <-


@mistake(TypeError, f"arange: the number 200 {BYTE} {{line}}")
def falling_range_beyond_int8() -> None:
    ost.arange(200, 100, -1, dtype="int8")  # <-


@mistake(TypeError, f"linspace: the number 300.0 {BYTE} {{line}}")
def linspace_beyond_int8() -> None:
    ost.linspace(0, 300, 3, dtype="int8")  # <-


@mistake(
    TypeError,
    "clip: min 1.5 is a fraction, but the tensor is int32; give an integer, or use ost.cast(x, "
    "ost.float32) first {line}",
)
def fraction_as_a_limit_of_integers() -> None:
    ost.clip(ints(), 1.5, 2)  # <-


def test_what_fits_is_taken() -> None:
    for dtype, numbers in (
        ("int8", (-128, 127, 127.9, -128.9)),
        ("int64", (-(2**63), 2**63 - 1)),
        ("uint64", (0, 2**64 - 1)),
    ):
        for number in numbers:
            assert ost.asarray(number, dtype=dtype).item() == int(number)
            assert ost.asarray([number], dtype=dtype).numpy().tolist() == [int(number)]
    assert ost.arange(127, -129, -1, dtype="int8").shape == (256,)
    assert ost.arange(300, 0, dtype="int8").shape == (0,)
    assert ost.full((), 2**60, dtype="bfloat16").item() == 2.0**60
    assert ost.clip(ints(), 1.0, None).numpy().tolist() == [1, 1, 1]


# --- Arguments ------------------------------------------------------------------------------------


@mistake(
    TypeError,
    "sum: unknown keyword 'axes'; did you mean 'axis'? Accepted: axis, keepdims, dtype, out. "
    "{line}",
)
def misspelt_keyword_of_a_method() -> None:
    x().sum(axes=0)  # <-


@mistake(TypeError, "reshape: unknown keyword 'shape'. It takes no keywords. {line}")
def keyword_of_the_method_reshape() -> None:
    x().reshape(shape=(80,))  # <-


@mistake(TypeError, "astype: unknown keyword 'dype'; did you mean 'dtype'? Accepted: dtype. {line}")
def misspelt_keyword_of_astype() -> None:
    x().astype("int32", dype=3)  # <-


@mistake(TypeError, "reshape: a size of 2.0 is not accepted; sizes are integers: use int() {line}")
def fractional_size() -> None:
    ost.reshape(x(), (2.0, 40))  # <-


@mistake(
    ValueError,
    "Dropout: rate 'a' is not accepted; give a number from 0 up to, but not, 1 {line}",
)
def text_as_a_dropout_rate() -> None:
    nn.Dropout("a")  # <-


@mistake(
    ValueError,
    "dropout: rate None is not accepted; give a number from 0 up to, but not, 1 {line}",
)
def nothing_as_a_dropout_rate() -> None:
    ost.random.dropout(x(), None)  # <-


@mistake(
    ValueError,
    "VarianceScaling: mode 'fan' is not known; did you mean 'fan_in'? Accepted: fan_in, fan_out, "
    "fan_avg. {line}",
)
def unknown_mode_of_an_initializer() -> None:
    nn.initializers.VarianceScaling(1.0, "fan", "uniform")  # <-


@mistake(
    ValueError,
    "VarianceScaling: distribution 'gamma' is not known. Accepted: uniform, truncated_normal. "
    "{line}",
)
def unknown_distribution_of_an_initializer() -> None:
    nn.initializers.VarianceScaling(1.0, "fan_in", "gamma")  # <-


@mistake(ValueError, "VarianceScaling: scale -1.0 is not accepted; give a positive number {line}")
def negative_scale_of_an_initializer() -> None:
    nn.initializers.VarianceScaling(-1.0, "fan_in", "uniform")  # <-


@mistake(
    TypeError,
    "Variable: 0 values were given, but it takes one, its first; use ost.Variable(value, name=..., "
    "trainable=...) {line}",
)
def variable_of_nothing() -> None:
    ost.Variable()  # <-


@mistake(
    TypeError,
    "Variable: unknown keyword 'trainabel'; did you mean 'trainable'? Accepted: initial, name, "
    "trainable, aggregation. {line}",
)
def misspelt_keyword_of_a_variable() -> None:
    ost.Variable(1.0, trainabel=False)  # <-


@mistake(TypeError, "Variable: name 3 is not accepted; give a str {line}")
def number_as_the_name_of_a_variable() -> None:
    ost.Variable(1.0, name=3)  # <-


PAIR = "return (y, backward), where backward(*cotangents) gives one gradient per argument"


@mistake(TypeError, f"custom_gradient: f returned a Tensor; {PAIR} {{line}}")
def custom_gradient_of_a_bare_tensor() -> None:
    @ost.custom_gradient
    def f(x: Any) -> Any:
        return x

    f(x())  # <-


@mistake(TypeError, f"custom_gradient: f returned a tuple of Tensor, Tensor; {PAIR} {{line}}")
def custom_gradient_without_a_function() -> None:
    @ost.custom_gradient
    def f(x: Any) -> Any:
        return x, x

    ost.grad(lambda x: ost.sum(f(x)))(x())  # <-


@pytest.mark.parametrize(("fn", "error", "expected"), mistake.cases)
def test_message(fn: Any, error: type[BaseException], expected: str) -> None:
    check(fn, error, expected)


# --- What works -----------------------------------------------------------------------------------


OPERATORS = "+ - * / // % ** < <= > >= == !=".split()


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("is_traced", [False, True])
def test_operators_take_an_array_on_either_side(operator: str, is_traced: bool) -> None:
    a, b = np.array([3.0, 2.0, -1.5], np.float32), np.array([2.0, 2.0, 4.0], np.float32)
    expected = eval(f"a {operator} b")
    for left, right in ((a, ost.asarray(b)), (ost.asarray(a), b), (a, ost.Variable(b, name="b"))):

        def f(t: Any, left: Any = left, right: Any = right) -> Any:
            left, right = (left, t) if left is a else (t, right)
            return eval(f"left {operator} right")

        tensor = right if left is a else left
        traceable = is_traced and isinstance(tensor, ost.Tensor)
        y = (ost.compile(f) if traceable else f)(tensor)
        assert isinstance(y, ost.Tensor)
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-6)


def test_numpy_numbers_and_operators_as_functions_work_too() -> None:
    t = ost.asarray([1.0, 2.0])
    assert (np.float32(2) - t).numpy().tolist() == [1.0, 0.0]
    assert np.add(t, t).numpy().tolist() == [2.0, 4.0]
    assert (np.array([True, False]) & (t > 0.0)).numpy().tolist() == [True, False]
    assert (np.ones((1, 2), np.float32) @ t).numpy().tolist() == [3.0]


def test_a_number_is_formatted_as_python_does() -> None:
    assert f"{ost.asarray(1.5):.2f} {ost.asarray([7]):03d} {ost.Variable(2.0, name='v'):.1f}" == (
        "1.50 007 2.0"
    )
    assert f"{ost.asarray(1.5)}" == str(ost.asarray(1.5))
