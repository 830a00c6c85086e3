# SPDX-License-Identifier: Apache-2.0
"""Sorting, scans, scatters and segments: what a row of tests/ops cannot say.

Infinities and NaN, ties, threads, and steps that refuse an index.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ostria as ost

INTS = "int8 int16 int32 int64 uint8 uint16 uint32 uint64".split()
FLOATS = "float16 float32 float64".split()
SPECIAL = np.array([0.5, np.nan, -np.inf, 0.0, np.inf, -0.0, -2.0, np.nan, 2.0])


def same(a: Any, b: Any) -> None:
    np.testing.assert_array_equal(a.numpy() if isinstance(a, ost.Tensor) else a, b)


# --- Sorting --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("length", [9, 900])  # compared, and by radix
def test_sort_puts_nan_last_in_both_orders(dtype: str, length: int) -> None:
    a = np.tile(SPECIAL, length // 9).astype(dtype)
    numbers = np.sort(a[~np.isnan(a)])
    nans = np.full(2 * length // 9, np.nan)
    same(ost.sort(ost.asarray(a)), np.concatenate([numbers, nans]))
    same(ost.sort(ost.asarray(a), descending=True), np.concatenate([numbers[::-1], nans]))
    values, _ = ost.top_k(ost.asarray(a), length)
    same(values, np.concatenate([numbers[::-1], nans]))


def test_sort_keeps_the_sign_of_zero_and_the_order_of_equals() -> None:
    a = np.array([0.0, -0.0, 0.0, -0.0, -1.0])
    for down, want in ((False, [4, 0, 1, 2, 3]), (True, [0, 1, 2, 3, 4])):
        same(ost.argsort(ost.asarray(a), descending=down), want)
        np.testing.assert_array_equal(
            np.signbit(ost.sort(ost.asarray(a), descending=down).numpy()), np.signbit(a[want])
        )


def test_top_k_takes_the_first_among_equals() -> None:
    x = ost.asarray(np.array([1, 5, 3, 5, 5, 1]))
    same(ost.top_k(x, 2)[1], [1, 3])
    same(ost.top_k(x, 5)[1], [1, 3, 4, 2, 0])
    same(ost.top_k(x, 1, largest=False)[1], [0])
    long = ost.asarray(np.arange(1000) % 4)
    same(ost.top_k(long, 3)[1], [3, 7, 11])  # chosen from the front
    same(ost.top_k(long, 400)[1][:3], [3, 7, 11])  # sorted whole


def test_top_k_differentiates_its_values_and_not_its_indices() -> None:
    def f(x: Any) -> Any:
        values, indices = ost.top_k(x, 2)
        return ost.sum(values * ost.cast(indices + 1, x.dtype))

    same(ost.grad(f)(ost.asarray(np.array([1.0, 9.0, 3.0]))), [0, 2, 3])


def test_top_k_of_an_axis_that_turns_out_too_short() -> None:
    f = ost.compile(lambda x: ost.top_k(x, 3, axis=0)[0], dynamic_batch=True)
    same(f(np.arange(8.0).reshape(4, 2)), [[6, 7], [4, 5], [2, 3]])
    with pytest.raises(ValueError, match=r"top_k: k is 3, but axis 0 of shape \[2, 2\] has 2 elem"):
        f(np.zeros((2, 2)))


# --- Scans ----------------------------------------------------------------------------------------


def test_cumprod_has_exact_slopes_at_zeros() -> None:
    """Against the definition: the slope of each product by each factor is that of the others."""
    a = np.array([2.0, 0.0, 3.0, 0.0, -1.5])
    weights = np.array([1.0, 10.0, 100.0, 1000.0, 10000.0])
    want = [
        sum(weights[i] * np.prod(np.delete(a[: i + 1], k)) for i in range(k, 5)) for k in range(5)
    ]
    grad = ost.grad(lambda x: ost.sum(ost.cumprod(x) * weights))
    same(grad(ost.asarray(a)), want)


def test_nothing_comes_before_the_first_element_of_a_scan() -> None:
    a = ost.asarray(np.array([np.inf, 2.0]))
    same(ost._native.ops.linear_scan(a, ost.ones((2,), dtype="float64")), [1, 3])


def test_a_float32_sum_is_rounded_once_per_result() -> None:
    a = np.full(100_000, 0.1, np.float32)
    exact = np.cumsum(a.astype(np.float64)).astype(np.float32)
    same(ost.cumsum(ost.asarray(a)), exact)


# --- Scatters and segments ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_add_up_thousands(dtype: str) -> None:
    ids, ones = ost.zeros((4000,), dtype="int64"), ost.ones((4000,), dtype=dtype)
    zero = ost.zeros((1,), dtype=dtype)
    for total in (
        ost.scatter_add(zero, ids, ones),
        ost.put_along_axis(zero, ids, ones, axis=0, reduce="add"),
        ost.segment_sum(ones, ids, 1),
        ost.grad(lambda x: ost.sum(ost.take(x, ids)))(zero),
        ost.grad(lambda x: ost.sum(ost.take_along_axis(x, ids, axis=0)))(zero),
    ):
        np.testing.assert_allclose(ost.cast(total, "float64").numpy(), 4000, 1e-2)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_share_a_gradient_among_thousands(dtype: str) -> None:
    """As zeros after relu are: they are counted in float32."""
    ids, zeros = ost.zeros((4000,), dtype="int64"), ost.zeros((4000,), dtype=dtype)
    start = ost.full((1,), -1.0, dtype=dtype)
    for largest in (
        lambda u: ost.scatter_max(start, ids, u),
        lambda u: ost.put_along_axis(start, ids, u, axis=0, reduce="max"),
        lambda u: ost.segment_max(u, ids, 1),
    ):
        shares = ost.grad(lambda u, largest=largest: ost.sum(largest(u)))(zeros)
        np.testing.assert_allclose(ost.cast(shares, "float64").numpy(), 1 / 4000, 1e-2)


@pytest.mark.parametrize("dtype", [*FLOATS, *INTS])
def test_a_segment_without_elements(dtype: str) -> None:
    data, ids = ost.ones((3, 2), dtype=dtype), ost.asarray(np.array([3, 0, 3]))
    low, high = (-np.inf, np.inf)
    if dtype in INTS:
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    for op, nothing in ((ost.segment_sum, 0), (ost.segment_max, low), (ost.segment_min, high)):
        y = op(data, ids, 5).numpy()
        assert (y[[0, 3]] == (1 if op is not ost.segment_sum else [[1, 1], [2, 2]])).all()
        assert (y[[1, 2, 4]] == nothing).all()
        assert y.dtype == dtype
    if dtype in FLOATS:
        same(ost.segment_mean(data, ids, 5), [[1, 1], [0, 0], [0, 0], [1, 1], [0, 0]])


def test_the_largest_of_numbers_and_a_nan() -> None:
    data = ost.asarray(np.array([1.0, np.nan, 3.0, 2.0]))
    ids = ost.asarray(np.array([0, 0, 1, 1]))
    for op, best in ((ost.segment_max, 3), (ost.segment_min, 2)):
        same(op(data, ids, 2), [np.nan, best])
    for scatter in (ost.scatter_max, ost.scatter_min):
        same(scatter(ost.zeros((2,), dtype="float64"), ids, data)[:1], [np.nan])
        same(scatter(ost.asarray(np.array([np.nan, 0])), ids[2:] - 1, data[2:])[:1], [np.nan])


def test_gradients_are_shared_between_ties() -> None:
    ids = ost.asarray(np.array([0, 0, 1, 0]))
    data = ost.asarray(np.array([4.0, 4.0, 7.0, 1.0]))
    same(ost.grad(lambda d: ost.sum(ost.segment_max(d, ids, 2)))(data), [0.5, 0.5, 1, 0])

    def scattered(x: Any, u: Any) -> Any:
        return ost.sum(ost.scatter_max(x, ids, u))

    x = ost.asarray(np.array([4.0, 9.0]))
    by_x, by_u = ost.grad(scattered, argnums=(0, 1))(x, data)
    same(by_x, [1 / 3, 1])
    same(by_u, [1 / 3, 1 / 3, 0, 0])

    def put(x: Any, v: Any) -> Any:
        return ost.sum(ost.put_along_axis(x, ids, v, axis=0, reduce="max"))

    by_x, by_v = ost.grad(put, argnums=(0, 1))(x, data)
    same(by_x, [1 / 3, 1])
    same(by_v, [1 / 3, 1 / 3, 0, 0])


def test_the_last_of_several_updates_counts() -> None:
    at, x = ost.asarray(np.array([1, 0, 1])), ost.zeros((3,), dtype="float64")
    u = ost.asarray(np.array([5.0, 6.0, 7.0]))
    same(ost.scatter_update(x, at, u), [6, 7, 0])
    same(ost.put_along_axis(x, at, u), [6, 7, 0])
    for op in (ost.scatter_update, ost.put_along_axis):
        by_x, by_u = ost.grad(lambda x, u, op=op: ost.sum(op(x, at, u)), argnums=(0, 1))(x, u)
        same(by_x, [0, 0, 1])
        same(by_u, [0, 1, 1])


def test_a_step_with_a_bad_index_changes_nothing() -> None:
    v = ost.Variable(np.arange(3.0), name="refused")

    @ost.compile
    def step(at: Any) -> None:
        v.assign(ost.scatter_update(v + 1.0, at, ost.ones((1,), dtype="float64")))

    step(np.array([1]))
    same(v.numpy(), [1, 1, 3])
    with pytest.raises(IndexError, match="scatter_update: index 3"):
        step(np.array([3]))
    same(v.numpy(), [1, 1, 3])


# --- Threads --------------------------------------------------------------------------------------

EVERYTHING = """
import hashlib, numpy as np, ostria as ost
rng = np.random.default_rng(0)
x = ost.asarray(rng.normal(size=(300, 500)).astype(np.float32))
ids = ost.asarray(rng.integers(0, 300, 300))
at = ost.argsort(x, axis=0)
results = [
    ost.sort(x), ost.sort(x, axis=0), at, *ost.top_k(x, 20), ost.cumsum(x), ost.cumprod(x, axis=1),
    ost.scatter_add(x, ids, x), ost.scatter_max(x, ids, x), ost.scatter_update(x, ids, x),
    ost.segment_sum(x, ids, 300), ost.segment_mean(x, ids, 300),
    ost.take_along_axis(x, at, axis=0), ost.put_along_axis(x, at % 7, x, axis=0, reduce="add"),
    ost.searchsorted(ost.sort(x[0]), x),
]
print(hashlib.sha256(b"".join(y.numpy().tobytes() for y in results)).hexdigest())
"""


def test_results_do_not_depend_on_threads() -> None:
    package = str(Path(ost.__file__).resolve().parents[1])
    seen = {
        subprocess.run(
            [sys.executable, "-c", EVERYTHING],
            env={**os.environ, "OSTRIA_NUM_THREADS": str(n), "PYTHONPATH": package},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for n in (1, 2, 3)
    }
    assert len(seen) == 1
