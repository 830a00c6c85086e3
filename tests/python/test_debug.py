# SPDX-License-Identifier: Apache-2.0
"""`ost.debug()` stops at the first value that is not finite, wherever it comes from."""

from __future__ import annotations

import numpy as np
import pytest

import ostria as ost


def test_an_op_that_makes_nan() -> None:
    f = ost.compile(lambda x: ost.sum(ost.log(x)))
    with ost.debug(), pytest.raises(ost.NonFiniteError, match=r"log: output 0 .*test_debug.py:\d+"):
        f(ost.asarray([1.0, -1.0]))
    assert np.isnan(f(ost.asarray([1.0, -1.0])).item())


def test_nan_in_the_input_is_named() -> None:
    f = ost.compile(lambda x: x + 1.0)
    with ost.debug(), pytest.raises(ost.NonFiniteError, match=r"input '.*' \(float32\[2\]\) holds"):
        f(ost.asarray([1.0, np.nan]))


def test_nan_in_a_variable_is_named() -> None:
    v = ost.Variable(np.array([np.inf], np.float32), name="scale")
    f = ost.compile(lambda x: x * v)
    with (
        ost.debug(),
        pytest.raises(ost.NonFiniteError, match=r"variable 'scale' .*holds NaN or inf"),
    ):
        f(ost.asarray([1.0]))


def test_eager_ops_are_checked_too_and_only_inside() -> None:
    x = ost.asarray(-1.0)
    assert np.isnan(ost.log(x).item())
    with ost.debug():
        with ost.debug():
            pass
        with pytest.raises(ost.NonFiniteError, match="log: output 0"):
            ost.log(x)
    assert np.isnan(ost.log(x).item())


def test_a_function_that_ran_before_is_checked_too() -> None:
    f, x = ost.compile(ost.log), ost.asarray([-1.0])
    for _ in range(2):
        f(x)
    with ost.debug(), pytest.raises(ost.NonFiniteError, match="log: output 0"):
        f(x)
