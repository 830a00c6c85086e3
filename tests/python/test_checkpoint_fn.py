# SPDX-License-Identifier: Apache-2.0
"""ost.checkpoint: equal values, gradients and draws; a lower peak."""

import numpy as np
import pytest

import ostria as ost

X = np.random.default_rng(0).standard_normal((64, 256)).astype(np.float32)


def weights(n):
    rng = np.random.default_rng(1)
    return [
        ost.Variable(rng.standard_normal((256, 256)).astype(np.float32) / 16, name=f"w{i}")
        for i in range(n)
    ]


def chain(ws, wrap, rate=0.0):
    def block(x, w):
        for _ in range(4):
            x = ost.tanh(x @ w) + ost.sin(x)
            if rate:
                x = ost.random.dropout(x, rate)
        return x

    def loss(x):
        for w in ws:
            x = wrap(lambda h, w=w: block(h, w))(x)
        value = ost.mean(x * x)
        return value, ost.gradients(value, ws)

    return ost.compile(loss)


def plain(fn):
    return fn


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_values_and_gradients_are_equal_and_the_peak_is_lower(rate):
    ws = weights(4)
    results = []
    for wrap in (plain, ost.checkpoint):
        ost.random.seed(3)
        f = chain(ws, wrap, rate)
        value, grads = f(X)
        results.append((value.item(), grads, f.memory_plan(X)["activation_bytes"]))
    (a, ga, kept), (b, gb, again) = results
    assert a == b
    for x, y in zip(ga, gb, strict=True):
        np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=1e-5, atol=1e-8)
    assert again < 0.6 * kept


def test_nested_checkpoints_and_second_derivatives():
    inner = ost.checkpoint(lambda x: ost.sin(x) * x)
    outer = ost.checkpoint(lambda x: ost.exp(inner(x)) + inner(x))

    def f(x):
        return ost.sum(ost.exp(ost.sin(x) * x) + ost.sin(x) * x)

    x = ost.asarray(np.linspace(-1, 1, 5), dtype="float64")
    got = ost.grad(lambda x: ost.sum(outer(x)))(x)
    np.testing.assert_allclose(got.numpy(), ost.grad(f)(x).numpy(), rtol=1e-12)
    second = ost.grad(lambda x: ost.sum(ost.gradients(ost.sum(outer(x)), [x])[0]))(x)
    want = ost.grad(lambda x: ost.sum(ost.gradients(f(x), [x])[0]))(x)
    np.testing.assert_allclose(second.numpy(), want.numpy(), rtol=1e-11)


def test_structures_and_other_values_pass_through():
    def fn(pair, scale=1):
        return {"y": pair[0] * scale + pair[1], "n": scale}

    f = ost.compile(lambda a, b: ost.checkpoint(fn)((a, b), scale=3))
    out = f(np.float32([1]), np.float32([2]))
    assert out["n"] == 3
    assert out["y"].numpy().tolist() == [5.0]


def test_a_symbolic_batch_has_one_trace():
    (w,) = weights(1)
    f = ost.compile(
        lambda x: ost.gradients(ost.mean(ost.checkpoint(lambda h: ost.tanh(h @ w))(x)), [w])[0],
        dynamic_batch=True,
    )
    want = ost.grad(lambda x: ost.mean(ost.tanh(x @ w)), wrt=[w])
    for n in (64, 7):
        np.testing.assert_allclose(f(X[:n]).numpy(), want(X[:n])[0].numpy(), rtol=1e-5, atol=1e-9)
    assert f.num_traces == 1


def test_assigning_inside_is_an_error():
    v = ost.Variable(np.float32([0]), name="v")

    def fn(x):
        v.assign(x)
        return x

    with pytest.raises(ValueError, match="'v' is assigned inside"):
        ost.compile(ost.checkpoint(fn))(np.float32([1]))
