# SPDX-License-Identifier: Apache-2.0
"""A tape inside a tape: gradients of gradients, computed while they run."""

from __future__ import annotations

import numpy as np
import pytest

import ostria as ost


def test_second_derivatives_of_tensors() -> None:
    x = ost.asarray([1.0, 2.0, 3.0])
    with ost.GradientTape() as outer:
        outer.watch(x)
        with ost.GradientTape() as inner:
            inner.watch(x)
            y = ost.sum(x**3.0)
        g = inner.gradient(y, x)
        total = ost.sum(g)
    np.testing.assert_allclose(g.numpy(), [3, 12, 27])
    np.testing.assert_allclose(outer.gradient(total, x).numpy(), [6, 12, 18])
    np.testing.assert_allclose(outer.gradient(y, x).numpy(), [3, 12, 27])


def test_second_derivatives_of_variables() -> None:
    v = ost.Variable(np.array([1, 2], np.float32), name="v")
    with ost.GradientTape() as outer:
        with ost.GradientTape() as inner:
            y = ost.sum(v * v * v)
        penalty = ost.sum(ost.square(inner.gradient(y, v)))
    np.testing.assert_allclose(outer.gradient(penalty, v).numpy(), [36, 288])


def test_three_tapes_and_a_gradient_outside_them() -> None:
    x = ost.asarray(2.0)
    with ost.GradientTape() as a:
        a.watch(x)
        with ost.GradientTape() as b:
            b.watch(x)
            with ost.GradientTape() as c:
                c.watch(x)
                y = x**4.0
            first = c.gradient(y, x)
        second = b.gradient(first, x)
    third = a.gradient(second, x)
    assert [float(v.item()) for v in (first, second, third)] == pytest.approx([32, 48, 48])


def test_what_the_inner_tape_took_from_the_outer_one_is_one_value() -> None:
    x = ost.asarray([1.0, 2.0])
    with ost.GradientTape() as outer:
        outer.watch(x)
        h = ost.exp(x)
        with ost.GradientTape() as inner:
            inner.watch(h)
            y = ost.sum(h * h)
        total = ost.sum(inner.gradient(y, h)) + ost.sum(y)
    expected = 2 * np.exp([1, 2]) + 2 * np.exp([2, 4])
    np.testing.assert_allclose(outer.gradient(total, x).numpy(), expected, rtol=1e-5)


def test_tapes_one_after_the_other_do_not_mix() -> None:
    x = ost.asarray(3.0)
    with ost.GradientTape() as outer:
        outer.watch(x)
        results = []
        for power in (2.0, 3.0):
            with ost.GradientTape() as inner:
                inner.watch(x)
                y = x**power
            results.append(inner.gradient(y, x))
        total = results[0] * results[1]  # 2x * 3x^2 = 6 x^3
    assert outer.gradient(total, x).item() == pytest.approx(18 * 9)
