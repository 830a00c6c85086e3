# SPDX-License-Identifier: Apache-2.0
"""Op `fused`, whose body no row can hold: the fusion pass makes it. Fused functions give what their
ops give one by one; what moves in memory stays near the least that must."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ostria as ost

dropout = ost._native.ops.dropout


def softmax_by_hand(x: Any) -> Any:
    e = ost.exp(x - ost.max(x, axis=-1, keepdims=True))
    return e / ost.sum(e, axis=-1, keepdims=True)


def residual_norm(x: Any) -> Any:
    y = x + ost.tanh(x)
    return ost.layer_norm(y, ost.ones(y.shape[-1:]), ost.zeros(y.shape[-1:]))[0] * 2.0


FUNCTIONS: list[Callable[[Any], Any]] = [
    lambda x: ost.gelu(x * 2.0 + 1.0) * ost.tanh(x) + 3.0,
    softmax_by_hand,
    residual_norm,
    lambda x: ost.sum(ost.relu(x) * 0.5, axis=0),
    lambda x: ost.sum(ost.square(x - 1.0)),
    lambda x: ost.where(x > 0.0, ost.exp(-x), ost.cast(ost.floor(x), "float32")),
    lambda x: ost.cast(ost.cast(x, "bfloat16") * 2.0, "float32") + x,
    lambda x: ost.softmax(x * 3.0) + ost.log_softmax(x + 1.0),
    lambda x: ost.rms_norm(x * x, ost.ones(x.shape[-1:]))[0] + x,
    lambda x: ost.batch_norm_inference(x, *[ost.ones(x.shape[-1:])] * 4) * ost.tanh(x),
]
SHAPES = [(71, 229), (1, 5), (4, 1), (3, 2, 700), (2000, 3)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("index", range(len(FUNCTIONS)))
def test_fused_is_what_the_ops_give(index: int, shape: tuple[int, ...]) -> None:
    f = FUNCTIONS[index]
    x = np.random.default_rng(index).normal(size=shape).astype(np.float32)
    compiled = ost.compile(f)
    got, want = compiled(x).numpy(), f(ost.asarray(x)).numpy()
    assert "fused <tiles" in compiled.explain()
    # bfloat16 is rounded once in a loop and after every op outside.
    tolerance = 1e-2 if index == 6 else 2e-5
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


# A key that is larger than the tensor, one element, rows that are cut into chunks and into blocks.
DROPOUT_SHAPES = [(), (1,), (2,), (4, 1), (3, 2, 700), (2000, 3), (3, 1300)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("shape", DROPOUT_SHAPES, ids=str)
def test_a_fused_dropout_draws_what_the_op_draws(shape: tuple[int, ...], dtype: str) -> None:
    x = ost.cast(ost.asarray(np.random.default_rng(1).normal(size=shape) + 3.0), dtype)

    def f(x: Any, key: Any, offset: Any) -> Any:
        y = dropout(x, key, offset, rate=0.3, stream=2**62 + 12345)
        return ost.abs(dropout(y, key, offset, rate=0.1, stream=5))

    compiled = ost.compile(f)
    for key, offset in (([0, 0], 0), ([7, 2**40], 3), ([-5, 1], 2**33)):
        arguments = (x, ost.asarray(np.int64(key)), ost.asarray(np.int64(offset)))
        got = ost.cast(compiled(*arguments), "float64").numpy()
        want = ost.cast(f(*arguments), "float64").numpy()
        assert "fused <tiles, dropout dropout abs>" in compiled.explain()
        if dtype in ("float32", "float64"):
            np.testing.assert_array_equal(got, want)
        else:  # halves are rounded once in a loop and after every op outside
            np.testing.assert_array_equal(got == 0, want == 0)
            np.testing.assert_allclose(got, want, rtol=1e-2)


def test_the_backward_group_draws_the_mask_of_the_forward_group() -> None:
    x = np.random.default_rng(2).normal(size=(37, 129)).astype(np.float32) + 5.0
    key, offset = ost.asarray(np.int64([3, 4])), ost.asarray(np.int64(6))

    def forward(x: Any) -> Any:
        return ost.square(dropout(x * 2.0, key, offset, rate=0.4, stream=9))

    backward = ost.compile(lambda x: ost.grad(lambda x: ost.sum(forward(x)))(x))
    gradient = backward(x).numpy()
    assert "dropout <" not in backward.explain()
    np.testing.assert_array_equal(gradient == 0, ost.compile(forward)(x).numpy() == 0)
    np.testing.assert_array_equal(gradient, ost.grad(lambda x: ost.sum(forward(x)))(x).numpy())


def test_threads_and_tiles_do_not_change_a_fused_dropout() -> None:
    x = np.random.default_rng(1).normal(size=(997, 513)).astype(np.float32)
    key, offset = ost.asarray(np.int64([3, 4])), ost.asarray(np.int64(6))

    def f(x: Any) -> Any:
        y = dropout(ost.abs(x) + 1.0, key, offset, rate=0.5, stream=1)
        return ost.sum(y, axis=-1, keepdims=True) * 0.0 + y

    whole = ost.compile(f)(x).numpy()
    np.testing.assert_array_equal(whole, f(ost.asarray(x)).numpy())

    def mask(x: Any, first: int) -> np.ndarray:
        rows = ost.asarray(np.int64(6 + first))
        g = ost.compile(lambda x: dropout(ost.abs(x), key, rows, rate=0.5, stream=1) > 0.0)
        return g(x).numpy()

    parts = [mask(x[:400], 0), mask(x[400:401], 400), mask(x[401:], 401)]
    np.testing.assert_array_equal(np.concatenate(parts), whole > 0)


def test_gradients_of_fused_functions() -> None:
    x = np.random.default_rng(0).normal(size=(8, 33)).astype(np.float32)
    for f in [*FUNCTIONS[:5], *FUNCTIONS[8:]]:

        def loss(x: Any, f: Callable[[Any], Any] = f) -> Any:
            return ost.sum(f(x) * ost.sin(x[..., :1]))

        fused = ost.compile(lambda x, loss=loss: ost.grad(loss)(x))(x).numpy()
        eager = ost.grad(loss)(ost.asarray(x)).numpy()
        np.testing.assert_allclose(fused, eager, rtol=2e-5, atol=2e-5)


def test_results_do_not_depend_on_threads() -> None:
    x = np.random.default_rng(1).normal(size=(997, 513)).astype(np.float32)
    f = ost.compile(lambda x: ost.sum(ost.gelu(x) * x, axis=0))
    first = f(x).numpy()
    for _ in range(3):
        np.testing.assert_array_equal(f(x).numpy(), first)


def test_one_trace_serves_every_batch() -> None:
    f = ost.compile(FUNCTIONS[0], dynamic_batch=True)
    for n in (5, 1, 0, 300):
        x = np.linspace(-2, 2, 7 * n, dtype=np.float32).reshape(n, 7)
        np.testing.assert_allclose(
            f(x).numpy(), FUNCTIONS[0](ost.asarray(x)).numpy(), rtol=1e-5, atol=1e-5
        )
    assert f.num_traces == 1


def test_debug_names_the_op_inside() -> None:
    f = ost.compile(lambda x: ost.exp(ost.log(x) * 2.0))
    with ost.debug(), pytest.raises(ost.NonFiniteError, match=r"^log: "):
        f(np.float32([1.0, -1.0]))


def test_debug_draws_the_same_again() -> None:
    key, offset = ost.asarray(np.int64([3, 4])), ost.asarray(np.int64(0))
    f = ost.compile(lambda x: ost.log(dropout(x, key, offset, rate=0.5, stream=1)))
    with ost.debug(), pytest.raises(ost.NonFiniteError, match=r"^log: "):
        f(np.ones(64, np.float32))


def test_text_of_a_fused_plan_names_its_ops() -> None:
    f = ost.compile(lambda x: ost.tanh(x) + 1.0)
    f(np.zeros(3, np.float32))
    assert "fused <tiles, tanh add>" in f.explain()
