# SPDX-License-Identifier: Apache-2.0
"""Attention's blocks against its decomposition, what a plan of it holds, dropout, threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from mistakes import Mistakes, check

import ostria as ost

mistake = Mistakes()
ops = ost._native.ops
KEY = np.array([5, 2], np.int64)


@contextmanager
def pinned(implementation: str) -> Iterator[None]:
    names = ("attention", "attention_grad")
    for name in names:
        ost._native.pin_kernel(name, implementation)
    try:
        yield
    finally:
        for name in names:
            ost._native.pin_kernel(name, "")


def numbers(*shape: int, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def outcome(*arrays: Any, **attrs: Any) -> list[np.ndarray]:
    """y, lse and the gradients by q, k and v of a sum over both."""

    def fn(g: Any, h: Any, q: Any, k: Any, v: Any, *options: Any) -> Any:
        y, lse = ops.attention(q, k, v, list(options), **attrs)
        return [y, lse, *ost.gradients([y, lse], [q, k, v], [g, h])]

    q, v = arrays[0], arrays[2]
    g = numbers(*q.shape[:3], v.shape[3], seed=7, dtype=str(q.dtype))
    h = numbers(q.shape[0], q.shape[2], q.shape[1], seed=8, dtype=str(q.dtype))
    return [t.numpy() for t in ost.compile(fn)(g, h, *arrays)]


OPTIONS: dict[str, Any] = {
    "plain": {},
    "causal": {"causal": True},
    "mask": {"masked": True},
    "bias": {"masked": True},
    "lengths": {"lengths": True},
    "dropout": {"dropout": 0.3, "stream": 9},
    "all": {
        "causal": True,
        "masked": True,
        "lengths": True,
        "dropout": 0.3,
        "stream": 9,
        "scale": 0.2,
    },
}


@pytest.mark.parametrize("dim", [5, 32, 64, 80])
@pytest.mark.parametrize("kind", OPTIONS)
def test_blocks_agree_with_the_decomposition(kind: str, dim: int) -> None:
    attrs = OPTIONS[kind]
    q, k = numbers(2, 71, 4, dim, seed=1), numbers(2, 229, 2, dim, seed=2)
    v = numbers(2, 229, 2, dim + 3, seed=3)
    rng = np.random.default_rng(4)
    options: list[Any] = []
    if attrs.get("masked"):
        bias = kind == "bias"
        options.append(numbers(2, 1, 71, 229) if bias else rng.random((1, 4, 71, 229)) < 0.5)
    if attrs.get("lengths"):
        options.append(np.array([0, 201], np.int32))
    if attrs.get("dropout"):
        options += [KEY, np.array(3, np.int64)]
    results = {}
    for name in ("blocks", "decompose"):
        with pinned(name):
            results[name] = outcome(q, k, v, *options, **attrs)
    for got, want in zip(results["blocks"], results["decompose"], strict=True):
        np.testing.assert_allclose(got, want, 2e-4, 2e-5)
    if attrs.get("lengths"):
        assert all((r[0] == 0).all() for r in results["blocks"])  # sequence 0 has no keys


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [False, -np.inf])
def test_rows_without_keys_give_zeros_and_no_nan(value: Any, dtype: str) -> None:
    mask = np.full((1, 1, 3, 4), True if value is False else 0.0)
    mask[0, 0, 1] = value
    mask = mask.astype(bool if value is False else dtype)
    y, lse, dq, dk, dv = outcome(
        *(numbers(1, n, 2, 5, seed=n, dtype=dtype) for n in (3, 4, 4)), mask, masked=True
    )
    assert (y[:, 1] == 0).all() and (lse[:, :, 1] == 0).all() and (dq[:, 1] == 0).all()
    assert all(np.isfinite(x).all() and x.any() for x in (y, dq, dk, dv))


def test_numbers_that_are_no_numbers_are_not_hidden() -> None:
    q, kv = numbers(1, 4, 1, 8), numbers(1, 5, 1, 8, seed=1)
    q[0, 2, 0, 3] = np.nan
    y = ost.attention(q, kv, kv).numpy()
    assert np.isnan(y[0, 2]).all() and np.isfinite(y[0, [0, 1, 3]]).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_types_are_computed_in_float32(dtype: str) -> None:
    x = ost.cast(numbers(2, 9, 2, 8), dtype)
    y, lse = ops.attention(x, x, x, [])
    assert str(y.dtype) == dtype and lse.dtype == ost.float32
    wide = ost.cast(x, "float32")
    want = ost.cast(ost.attention(wide, wide, wide), dtype)
    np.testing.assert_array_equal(ost.cast(y, "float32").numpy(), ost.cast(want, "float32").numpy())


def test_a_learned_bias_has_a_gradient() -> None:
    q, k, v = (numbers(2, n, 2, 4, seed=n, dtype="float64") for n in (3, 5, 5))
    bias = numbers(1, 2, 1, 5, dtype="float64")

    def loss(bias: Any) -> Any:
        return ost.sum(ost.square(ost.attention(q, k, v, mask=bias, causal=True)))

    slope = ost.compile(ost.grad(loss))(ost.asarray(bias)).numpy()
    for i in np.ndindex(bias.shape):
        step = np.zeros_like(bias)
        step[i] = 1e-6
        up, down = (float(loss(ost.asarray(b))) for b in (bias + step, bias - step))
        np.testing.assert_allclose(slope[i], (up - down) / 2e-6, 1e-6, 1e-8)


# --- Dropout --------------------------------------------------------------------------------------


def test_dropout_is_that_of_op_dropout_on_the_weights() -> None:
    q, k = numbers(2, 70, 2, 4, seed=1), numbers(2, 90, 2, 4, seed=2)
    eye = np.tile(np.eye(90, dtype=np.float32)[None, :, None], (2, 1, 2, 1))  # y is the weights
    offset = np.array(0, np.int64)
    kept = ops.attention(q, k, eye, [KEY, offset], dropout=0.4, stream=6)[0].numpy()
    plain = ops.attention(q, k, eye, [])[0].numpy()
    want = ops.dropout(plain.transpose(0, 2, 1, 3).copy(), KEY, offset, rate=0.4, stream=6)
    np.testing.assert_allclose(kept.transpose(0, 2, 1, 3), want.numpy(), 1e-5)


def test_dropout_does_not_depend_on_how_a_batch_is_split() -> None:
    x = numbers(4, 10, 2, 8)

    def attend(x: Any, offset: int) -> np.ndarray:
        generator = ost.random.Generator(3)
        return ost.attention(
            x, x, x, dropout=0.5, generator=generator, offset=np.array(offset, np.int64)
        ).numpy()

    whole = attend(x, 0)
    np.testing.assert_array_equal(whole[1:], attend(x[1:], 1))
    assert (whole[1:] != attend(x[1:], 0)).any()


# --- Plans and threads ----------------------------------------------------------------------------


def test_memory_grows_with_the_length_and_not_with_its_square() -> None:
    def forward(x: Any) -> Any:
        return ost.attention(x, x, x, causal=True)

    def backward(x: Any) -> Any:
        return ost.gradients([forward(x)], [x])

    def planned(fn: Callable[..., Any], length: int) -> int:
        x = np.zeros((1, length, 2, 32), np.float32)
        return ost.compile(fn).memory_plan(x)["activation_bytes"]

    for fn in (forward, backward):
        long = planned(fn, 4096)
        assert long < 6 * 4096 * 2 * 32 * 4  # six tensors of x's size; the scores are 128
        assert long < 2.1 * planned(fn, 2048)
    with pinned("decompose"):
        assert planned(forward, 4096) > 4096 * 4096 * 2 * 4


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    q = numbers(2, 200, 4, 16)
    kv = numbers(2, 150, 2, 16)
    results = []
    for threads in (1, 2, 5):
        ost._native.set_num_threads(threads)
        try:
            results.append(outcome(q, kv, kv, KEY, np.int64(0), causal=True, dropout=0.1))
        finally:
            ost._native.set_num_threads(2)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


# --- Mistakes -------------------------------------------------------------------------------------

X = np.ones((2, 3, 2, 4), np.float32)


@mistake(
    ValueError,
    "attention: scale 0 is not accepted; give a number other than 0, or None for 1 / "
    "sqrt(head_dim) {line}",
)
def scale_zero() -> None:
    ost.attention(X, X, X, scale=0)  # <-


@mistake(
    ValueError,
    "attention: dropout 1.5 is not accepted; give a number from 0 up to, but not, 1 {line}",
)
def too_much_dropout() -> None:
    ost.attention(X, X, X, dropout=1.5)  # <-


@mistake(ValueError, "attention: the batch sizes of 'q' and 'k' differ: 2 and 1 {line}")
def other_batch() -> None:
    ost.attention(X, X[:1], X[:1])  # <-


@mistake(
    ValueError,
    "attention: the mask's shape is [1, 1, 3, 4], but the scores are [2, 2, 3, 3] ([batch, heads, "
    "length_q, length_kv]); it must be equal, or 1 in any of the first three axes; reshape the "
    "mask to rank 4 {line}",
)
def other_mask() -> None:
    ost.attention(X, X, X, mask=np.ones((3, 4), bool))  # <-


@pytest.mark.parametrize(("fn", "error", "expected"), mistake.cases)
def test_mistakes(fn: Callable[[], Any], error: type[Exception], expected: str) -> None:
    check(fn, error, expected)
