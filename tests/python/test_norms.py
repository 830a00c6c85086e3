# SPDX-License-Identifier: Apache-2.0
"""norm against NumPy's, values and gradients, at 0 too; logspace."""

from __future__ import annotations

import numpy as np
import pytest

import ostria as ost


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, shape)


ORDERS = [1, 2, np.inf, -np.inf, 0, 3, 2.5, 0.5, -1]


@pytest.mark.parametrize("ord", ORDERS)
@pytest.mark.parametrize("keepdims", [False, True])
def test_norms(ord: float, keepdims: bool) -> None:
    a = numbers(4, 5)
    got = ost.norm(ost.asarray(a), ord=ord, axis=1, keepdims=keepdims)
    np.testing.assert_allclose(
        got.numpy(), np.linalg.norm(a, ord, 1, keepdims), 1e-12, err_msg=str(ord)
    )
    every = ost.norm(ost.asarray(a), ord=ord)
    np.testing.assert_allclose(every.numpy(), np.linalg.norm(a.ravel(), ord), 1e-12)
    assert every.shape == ()


def test_frobenius_norm() -> None:
    a = numbers(2, 4, 5)
    for ord in (2, "fro"):
        got = ost.norm(ost.asarray(a), ord=ord, axis=(1, 2))
        np.testing.assert_allclose(got.numpy(), np.linalg.norm(a, "fro", (1, 2)), 1e-12)


@pytest.mark.parametrize("ord", ORDERS)
def test_gradients_of_norms(ord: float) -> None:
    a = numbers(3, 4)
    grad = ost.grad(lambda t: ost.sum(ost.norm(t, ord=ord, axis=1)))(ost.asarray(a)).numpy()
    for at in np.ndindex(a.shape):
        up, down = a.copy(), a.copy()
        up[at] += 1e-6
        down[at] -= 1e-6
        want = (np.linalg.norm(up, ord, 1).sum() - np.linalg.norm(down, ord, 1).sum()) / 2e-6
        np.testing.assert_allclose(grad[at], want, 1e-6, 1e-8)


@pytest.mark.parametrize("ord", [1, 2, np.inf, 0, 3, 0.5])
def test_the_slope_of_a_norm_at_0_is_0(ord: float) -> None:
    grad = ost.grad(lambda t: ost.norm(t, ord=ord))
    np.testing.assert_array_equal(grad(ost.zeros((3,))).numpy(), [0, 0, 0])
    assert np.isfinite(grad(ost.asarray([0.0, 2.0])).numpy()).all()


def test_norms_of_nan_and_of_nothing() -> None:
    for ord in (1, 2, np.inf, 3):
        assert np.isnan(ost.norm(ost.asarray([1.0, np.nan]), ord=ord).item())
    for ord in (0, 1, 2, np.inf, 3):
        assert ost.norm(ost.zeros((0,)), ord=ord).item() == 0
        assert ost.norm(ost.zeros((2, 0)), ord=ord, axis=1).numpy().tolist() == [0, 0]


def test_logspace() -> None:
    np.testing.assert_allclose(ost.logspace(-1, 3, 9).numpy(), np.logspace(-1, 3, 9), 1e-6)
    got = ost.logspace(0, 5, 5, base=2, endpoint=False, dtype="int32")
    np.testing.assert_array_equal(got.numpy(), [1, 2, 4, 8, 16])
