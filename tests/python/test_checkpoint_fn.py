# SPDX-License-Identifier: Apache-2.0
"""ost.checkpoint: equal values, gradients and draws; a lower peak."""

import numpy as np
import pytest

import ostria as ost
from ostria import nn

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


def trained(wrap):
    """Losses, state and calls of three steps through a block that has state."""
    ost.random.seed(0)
    block = nn.Sequential([nn.Dense(8), nn.BatchNormalization(), nn.Dropout(0.3)])
    calls, optimizer = ost.Variable(np.int64(0), name="calls"), ost.optim.SGD(0.1)

    def run(x):
        calls.assign_add(1)
        return block(x, training=True)

    @ost.compile
    def step(x):
        loss = ost.mean(ost.square(wrap(run)(x) - 1.0))
        optimizer.minimize(loss, block.trainable_variables)
        return loss

    losses = [step(X[:, :5]).item() for _ in range(3)]
    return losses, [v.numpy() for v in block.variables], calls.numpy()


def test_what_a_block_assigns_is_assigned_once():
    want, got = trained(plain), trained(ost.checkpoint)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-6)
    for a, b in zip(got[1], want[1], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert got[2] == want[2] == 3


@pytest.mark.parametrize("wrap", [plain, ost.checkpoint])
def test_a_loop_inside_that_assigns_goes_on_outside(wrap):
    v = ost.Variable(np.float32(1), name="v")

    def doubled(x):
        def step(c, _):
            v.assign(v * 2.0)
            return c * v, None

        return ost.scan(step, x, length=3)[0]

    @ost.compile
    def run(x):
        y = wrap(wrap(doubled))(x)
        return y, v.value(), ost.gradients(y, [x, v])

    y, last, (dx, dv) = run(ost.asarray(3.0))
    assert (y.item(), last.item(), v.numpy()) == (3 * 2 * 4 * 8, 8, 8)
    assert dx.item() == 2 * 4 * 8
    assert dv.item() == 3 * (4 * 8 + 2 * 8 + 2 * 4)  # by every value that was read


def test_an_update_inside_is_one_of_the_step():
    w, optimizer = ost.Variable(np.float32([4]), name="w"), ost.optim.SGD(0.25)

    @ost.compile
    def step(x):
        def update(x):
            optimizer.minimize(ost.sum(w * x), [w])
            return w * x

        return ost.checkpoint(update)(x)

    assert step(np.float32([2])).item() == 2 * (4 - 0.25 * 2)
    step(np.float32([np.inf]))
    assert w.numpy() == [3.5]
    assert (optimizer.iterations.numpy(), optimizer.skipped.numpy()) == (1, 1)


def test_only_a_function_can_be_checkpointed():
    with pytest.raises(TypeError, match=r"checkpoint: fn is 3; give a function \[test_check"):
        ost.checkpoint(3)
