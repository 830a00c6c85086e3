# SPDX-License-Identifier: Apache-2.0
"""cond, scan and while_loop against the same in plain Python: values, gradients, messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ostria as ost

RNG = np.random.default_rng(0)
W = RNG.normal(size=(3, 3)).astype(np.float64) * 0.5
H = RNG.normal(size=(2, 3)).astype(np.float64)
X = RNG.normal(size=(5, 2, 3)).astype(np.float64)


def cell(w: Any, h: Any, x: Any) -> Any:
    return ost.tanh(ost.matmul(h, w) + x)


def looped(w: Any, h: Any, xs: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        h = cell(w, h, x)
        return h, h * h

    return ost.scan(step, h, xs)


def unrolled(w: Any, h: Any, xs: Any) -> Any:
    ys = []
    for t in range(xs.shape[0]):
        h = cell(w, h, xs[t])
        ys.append(h * h)
    return h, ost.stack(ys)


def total(fn: Callable[..., Any]) -> Callable[..., Any]:
    def loss(*args: Any) -> Any:
        h, ys = fn(*args)
        return ost.sum(h) + ost.sum(ys * ys)

    return loss


def close(a: Any, b: Any) -> None:
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("wrap", [lambda f: f, ost.compile], ids=["eager", "compiled"])
def test_scan_is_the_unrolled_loop(wrap: Any) -> None:
    args = [ost.asarray(a) for a in (W, H, X)]
    close(wrap(looped)(*args), unrolled(*args))


def test_gradients_are_those_of_the_unrolled_loop() -> None:
    by = ost.grad(total(looped), argnums=(0, 1, 2))(W, H, X)
    close(by, ost.grad(total(unrolled), argnums=(0, 1, 2))(W, H, X))
    eps = 1e-6
    bumped = W.copy()
    bumped[1, 2] += eps
    difference = (total(looped)(bumped, H, X) - total(looped)(W, H, X)).item() / eps
    assert abs(difference - by[0].numpy()[1, 2]) < 1e-4


def test_second_derivatives() -> None:
    def norm(loss: Any) -> Any:
        return lambda w: ost.sum(ost.square(ost.grad(loss)(w, H, X)))

    got = ost.grad(norm(total(looped)))(W)
    close([got], [ost.grad(norm(total(unrolled)))(W)])


def test_the_tape_sees_through_a_scan() -> None:
    w = ost.asarray(W)
    with ost.GradientTape() as tape:
        tape.watch(w)
        loss = total(looped)(w, H, X)
    close([tape.gradient(loss, w)], [ost.grad(total(unrolled))(W, H, X)])


def test_reverse_and_no_xs() -> None:
    last, ys = ost.scan(lambda c, x: (c + x, c), 0.0, ost.asarray([1.0, 2.0, 4.0]), reverse=True)
    assert last.item() == 7.0
    assert ys.numpy().tolist() == [6.0, 4.0, 0.0]
    assert ost.scan(lambda c, x: (c * 2, None), 3, length=4)[0].item() == 48
    assert ost.scan(lambda c, x: (c * 2, None), 3, length=0)[0].item() == 3
    carry, ys = ost.scan(lambda c, x: (c * 2, c), 3, length=1)
    assert (carry.item(), ys.numpy().tolist()) == (6, [3])


def test_one_trace_serves_every_batch() -> None:
    fn = ost.compile(
        lambda h: ost.scan(lambda c, x: (ost.matmul(c, W) + x, ost.sum(c)), h, X[:, :1]),
        dynamic_batch=True,
    )
    for n in (7, 2, 0):
        h = RNG.normal(size=(n, 3))
        got, sums = fn(h)
        for t in range(5):
            np.testing.assert_allclose(sums.numpy()[t], h.sum(), atol=1e-9)
            h = h @ W + X[t, :1]
        np.testing.assert_allclose(got.numpy(), h, atol=1e-9)
    assert fn.num_traces == 1


def test_cond_runs_one_branch_and_has_its_gradient() -> None:
    def fn(x: Any) -> Any:
        return ost.cond(
            ost.sum(x) > 0.0, lambda x: ost.sum(x * x), lambda x: ost.sum(ost.exp(x)), x
        )

    for x in (np.array([1.0, 2.0]), np.array([-1.0, -2.0])):
        want = 2 * x if x.sum() > 0 else np.exp(x)
        np.testing.assert_allclose(ost.grad(fn)(x).numpy(), want)
        np.testing.assert_allclose(fn(ost.asarray(x)).numpy(), ost.compile(fn)(x).numpy())


def test_nested_scan_in_cond_in_scan() -> None:
    def inner(c: Any) -> Any:
        return ost.scan(lambda a, _: (a * 0.5 + ost.sin(a), None), c, length=3)[0]

    def plain(c: Any) -> Any:
        for _ in range(3):
            c = c * 0.5 + ost.sin(c)
        return c

    def nested(c: Any) -> Any:
        def step(c: Any, x: Any) -> Any:
            return ost.cond(x > 0.0, inner, lambda c: c * x, c), None

        return ost.sum(ost.scan(step, c, FLAGS)[0])

    def flat(c: Any) -> Any:
        for x in FLAGS.numpy().tolist():
            c = plain(c) if x > 0 else c * x
        return ost.sum(c)

    FLAGS = ost.asarray(np.array([1.0, -1.0, 1.0, -2.0]))
    x = np.array([0.3, -0.7])
    close([ost.compile(nested)(x)], [flat(ost.asarray(x))])
    close([ost.grad(nested)(x)], [ost.grad(flat)(x)])


def test_while_loop_and_its_gradient() -> None:
    def fn(x: Any, steps: int | None = None) -> Any:
        return ost.while_loop(lambda v: v < 100.0, lambda v: v * v, x, max_steps=steps)

    assert fn(ost.asarray(3.0)).item() == 6561.0
    assert ost.compile(fn)(ost.asarray(3.0)).item() == 6561.0
    assert fn(ost.asarray(3.0), 1).item() == 9.0
    assert fn(ost.asarray(300.0)).item() == 300.0
    assert ost.grad(lambda x: fn(x, 10))(ost.asarray(2.0)).item() == 8 * 2.0**7
    with pytest.raises(
        NotImplementedError, match=r"give max_steps=.* \[test_control_flow.py:\d+\]"
    ):
        ost.grad(fn)(ost.asarray(2.0))


def test_variables_are_captures() -> None:
    v = ost.Variable(np.float32(2.0), name="scale")

    def fn(x: Any) -> Any:
        return ost.scan(lambda c, x: (c * v, None), 1.0, x)[0]

    assert ost.compile(fn)(np.zeros(3, np.float32)).item() == 8.0
    v.assign(np.float32(3.0))
    assert fn(ost.zeros(3)).item() == 27.0
    g = ost.grad(lambda x: ost.sum(fn(x)), wrt=[v])(np.zeros(3, np.float32))
    assert g[0].item() == 27.0


def test_every_step_draws_anew_and_the_gradient_repeats_it() -> None:
    def fn(x: Any) -> Any:
        return ost.scan(lambda c, x: (c, ost.random.dropout(x, 0.5)), 0.0, x)[1]

    x = np.ones((4, 64), np.float32)
    rows = fn(ost.asarray(x)).numpy()
    assert len({row.tobytes() for row in rows}) == 4
    generator = ost.random.Generator(3)

    def loss(x: Any) -> Any:
        y = ost.scan(lambda c, x: (c, ost.random.dropout(x, 0.5, generator=generator)), 0.0, x)[1]
        return ost.sum(y), y

    g, y = ost.grad(loss, has_aux=True)(x)
    np.testing.assert_array_equal(g.numpy(), y.numpy())
    g2, _ = ost.grad(loss, has_aux=True)(x)
    assert (g2.numpy() != g.numpy()).any()


def test_text_round_trip() -> None:
    def fn(x: Any) -> Any:
        y = ost.while_loop(lambda v: ost.sum(v) < 10.0, lambda v: v * 2.0, x)
        y, rows = ost.scan(lambda c, r: (c + r, c), y, ost.stack([x, y]))
        return ost.cond(ost.sum(rows) > 0.0, lambda y: y, lambda y: -y, y)

    x = np.float32([1.0, 0.5])
    graph = ost.compile(fn).trace(x)
    text = graph.text()
    assert all(op in text for op in ("cond@1", "scan@1", "while_loop@1"))
    assert ost._native.parse_graph(text) == text
    again = ost._native.compile_text(text).run([x, *graph.captures])
    np.testing.assert_array_equal(again[0].numpy(), ost.compile(fn)(x).numpy())
    np.testing.assert_array_equal(again[0].numpy(), fn(ost.asarray(x)).numpy())


def test_messages() -> None:
    x = ost.zeros((3, 2))
    line = r" \[test_control_flow.py:\d+\]"
    with pytest.raises(ValueError, match="carry 0 .'carry_0'. was float32.2. before" + ".*" + line):
        ost.compile(lambda x: ost.scan(lambda c, r: (ost.sum(c), None), x[0], x))(x)
    with pytest.raises(TypeError, match="return .carry, y.*" + line):
        ost.scan(lambda c, r: c, x[0], x)
    with pytest.raises(TypeError, match="the carry has the structure.*" + line):
        ost.scan(lambda c, r: ((c, c), None), x[0], x)
    with pytest.raises(ValueError, match="there are no rows to count.*" + line):
        ost.scan(lambda c, r: (c, None), x[0])
    with pytest.raises(ValueError, match="xs 0 is .* 3 row.s., but the scan takes 2 step.*" + line):
        ost.scan(lambda c, r: (c, None), x[0], x, length=2)
    with pytest.raises(ValueError, match="pred must be bool.*" + line):
        ost.cond(x, lambda: x, lambda: x)
    with pytest.raises(TypeError, match="scan: length 2.5 is not accepted; give an int.*" + line):
        ost.scan(lambda c, _: (c, None), x[0], length=2.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="while_loop: max_steps True is not accepted; .*" + line):
        ost.while_loop(lambda c: c < 1.0, lambda c: c, 0.0, max_steps=True)
    with pytest.raises(ValueError, match="result 0 is .* in the branch for true and .*" + line):
        ost.cond(True, lambda x: x, lambda x: x[0], x)
    with pytest.raises(TypeError, match="cond: false_fn is 3; give a function" + line):
        ost.cond(True, lambda: x, 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="scan: reverse is 'yes'; give True or False" + line):
        ost.scan(lambda c, r: (c, None), x[0], x, reverse="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize("wrap", [lambda f: f, ost.compile])
def test_variables_are_operands(wrap: Any) -> None:
    v = ost.Variable(np.arange(3.0), name="v")
    rows = ost.Variable(np.ones((4, 3)), name="rows")

    def run() -> Any:
        last, ys = ost.scan(lambda c, r: (c + r, v), v, rows)
        grown = ost.while_loop(lambda c: ost.sum(c) < 9.0, lambda c: c + 1.0, v)
        return last, ys, grown, ost.cond(True, lambda a: a, lambda a: a * 2.0, v)

    start = np.arange(3.0)
    for got, want in zip(wrap(run)(), (start + 4, [start] * 4, start + 2, start), strict=True):
        np.testing.assert_array_equal(got.numpy(), want)


def test_an_error_inside_a_body_names_the_op_and_the_line() -> None:
    table, rows = ost.zeros((3, 2)), np.array([0, 7])

    def fn(rows: Any) -> Any:
        return ost.scan(lambda c, i: (c, ost.gather(table, i)), 0.0, rows)[1]

    with pytest.raises(IndexError, match=r"gather: .* \[test_control_flow.py:\d+\]"):
        ost.compile(fn)(rows)
    with pytest.raises(IndexError, match=r"gather: "):
        fn(ost.asarray(rows))


def test_debug_mode_looks_into_bodies() -> None:
    fn = ost.compile(lambda x: ost.scan(lambda c, r: (c, ost.log(r - 1.0) * 0.0), 0.0, x)[1])
    with ost.debug(), pytest.raises(ost.NonFiniteError, match=r"log: .* \[test_control_flow.py"):
        fn(np.ones(3, np.float32))


def test_explain_shows_the_body() -> None:
    fn = ost.compile(looped)
    fn(W, H, X)
    assert "5 x " in fn.explain(runs=1)
    assert "body:" in fn.explain(runs=1)


def test_second_derivatives_of_while_loops_and_branches() -> None:
    def looped(x: Any) -> Any:
        x = ost.while_loop(lambda v: v < 50.0, lambda v: v * v, x, max_steps=6)
        return ost.cond(x > 0.0, lambda x: x * x * x, lambda x: x, x)

    def second(fn: Any) -> Any:
        return ost.grad(ost.grad(fn))

    x = ost.asarray(np.float64(2.0))  # ((x^2)^2)^2 = 256, then its cube: x^24
    np.testing.assert_allclose(second(looped)(x).numpy(), 24 * 23 * 2.0**22, rtol=1e-12)


@pytest.mark.parametrize("length", [0, 1])
def test_gradients_of_short_loops(length: int) -> None:
    args = (W, H, X[:length])
    got = ost.grad(total(looped), argnums=(0, 1, 2))(*args)
    if length == 1:
        close(got, ost.grad(total(unrolled), argnums=(0, 1, 2))(*args))
    else:
        want = (np.zeros_like(W), np.ones_like(H), np.zeros_like(X[:0]))
        close(got, [ost.asarray(w) for w in want])


def test_results_of_nothing() -> None:
    x = ost.ones(3)
    for wrap in (lambda f: f, ost.compile):
        assert wrap(lambda x: ost.scan(lambda c, r: (c, None), None, x))(x) == (None, None)
        assert wrap(lambda x: ost.cond(x[0] > 0.0, lambda: (), lambda: ()))(x) == ()
    with pytest.raises(ValueError, match=r"leave no value to carry.* \[test_control_flow.py:\d+\]"):
        ost.while_loop(lambda _: False, lambda _: None, None)
