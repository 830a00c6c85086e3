# SPDX-License-Identifier: Apache-2.0
"""Indexing by boolean masks and by arrays beside other indices: what NumPy gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mistakes import Mistakes, check

import ostria as ost

DATA = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
PICK = np.array([[2, 0], [1, 1]])

mistake = Mistakes()


@pytest.mark.parametrize(
    "index",
    [
        DATA > 5,
        DATA > 100,
        DATA[:, :, 0] > 5,
        DATA[:, 0, 0] > 5,
        (slice(None), DATA[0] > 5),
        (slice(None), DATA[0, :, 0] > 3),
        (slice(None, None, -1), DATA[0] % 3 == 0),
        (..., DATA[0] > 5),
        (DATA[:, :, 0] > 5, 1),
        (DATA[:, :, 0] > 5, slice(1, 3)),
        (1, DATA[0] > 5),
        (None, DATA[:, :, 0] > 5, None),
        (PICK % 2, None),
        (slice(None), PICK, None, slice(1, None)),
        [True, False],
        [],
    ],
    ids=str,
)
def test_an_index_selects_what_numpy_selects(index: Any) -> None:
    expected = DATA[index]
    actual = ost.asarray(DATA)[index]
    assert actual.shape == expected.shape
    np.testing.assert_array_equal(actual.numpy(), expected)


def test_masks_may_be_tensors_and_variables() -> None:
    t, flags = ost.asarray(DATA), ost.Variable(np.array([False, True]), name="flags")
    np.testing.assert_array_equal(t[t > 5].numpy(), DATA[DATA > 5])
    np.testing.assert_array_equal(t[flags].numpy(), DATA[1:])
    np.testing.assert_array_equal(ost.Variable(DATA, name="v")[t > 5].numpy(), DATA[DATA > 5])


def test_a_mask_over_several_axes_has_a_gradient() -> None:
    t = ost.asarray(DATA)
    with ost.GradientTape() as tape:
        tape.watch(t)
        y = ost.sum(ost.square(t[t > 5]))
    np.testing.assert_array_equal(tape.gradient(y, t).numpy(), np.where(DATA > 5, 2 * DATA, 0))


def test_a_mask_of_known_values_serves_inside_a_trace() -> None:
    np.testing.assert_array_equal(
        ost.compile(lambda x: x[DATA > 5])(ost.asarray(DATA)).numpy(), DATA[DATA > 5]
    )


def cube() -> Any:
    return ost.asarray(DATA)


@mistake(
    IndexError,
    "indexing: a mask of shape [3, 4] does not fit axes 0..1 of a tensor of shape [2, 3, 4]; give "
    "one value for each place of the axes it covers {line}",
)
def mask_of_other_axes() -> None:
    cube()[DATA[0] > 5]  # <-


@mistake(
    IndexError,
    "indexing: a mask of shape [2, 3, 4, 1] does not fit axes 0..3 of a tensor of shape [2, 3, 4]; "
    "give one value for each place of the axes it covers {line}",
)
def mask_of_too_many_axes() -> None:
    cube()[DATA[..., None] > 5]  # <-


@mistake(
    IndexError,
    "indexing: a mask of shape [] does not fit a tensor of shape [2, 3, 4]; give one value for "
    "each place of the axes it covers {line}",
)
def mask_of_rank_0() -> None:
    cube()[np.array(True)]  # <-


@mistake(
    TypeError,
    "indexing: several index arrays at once are not supported; use ost.gather per axis {line}",
)
def two_masks() -> None:
    cube()[DATA > 5, DATA > 5]  # <-


@mistake(IndexError, "indexing: 4 indices for a tensor of rank 3 (shape [2, 3, 4]) {line}")
def mask_beside_too_many_indices() -> None:
    cube()[DATA[:, :, 0] > 5, 0, 0]  # <-


@mistake(
    TypeError,
    "indexing with a mask has a result whose size depends on data, which a traced function cannot "
    "have; keep the size with ost.where(mask, x, 0), or index outside the function {line}",
)
def mask_of_a_traced_variable() -> None:
    flags = ost.Variable(np.array([False, True]), name="flags")

    def f(x: Any) -> Any:
        return x[flags]  # <-

    ost.compile(f)(cube())


@pytest.mark.parametrize(("fn", "error", "expected"), mistake.cases)
def test_message(fn: Any, error: type[BaseException], expected: str) -> None:
    check(fn, error, expected)
