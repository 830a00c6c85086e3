# SPDX-License-Identifier: Apache-2.0
"""Variables that bodies of cond, scan and while_loop assign, beside the same in plain Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ostria as ost
from ostria import nn, optim

LINE = r" \[test_control_state.py:\d+\]"
ROWS = np.float32([[1, -2], [0.5, 3], [-1, 0.25]])
both = pytest.mark.parametrize("wrap", [lambda f: f, ost.compile], ids=["eager", "compiled"])


def variable(values: Any, name: str = "v", dtype: Any = np.float32) -> Any:
    return ost.Variable(np.asarray(values, dtype), name=name)


def plain_scan(fn: Callable[..., Any], init: Any, xs: Any) -> Any:
    """`ost.scan` as a loop of Python."""
    ys, carry = [], init
    for x in xs:
        carry, y = fn(carry, x)
        ys.append(y)
    return carry, None if ys[0] is None else ost.stack(ys)


@both
def test_a_step_of_a_scan_sees_what_the_step_before_wrote(wrap: Any) -> None:
    total, count = variable([0, 0], "total"), variable(0, "count", np.int64)

    def step(carry: Any, x: Any) -> Any:
        before = total.value()
        total.assign(total + x)
        total.assign(total * 2.0)
        count.assign(count + 1)
        return carry + ost.sum(before), total.value()

    def fn(xs: Any) -> Any:
        carry, ys = ost.scan(step, 0.0, xs)
        return carry, ys, total + 0.0

    carry, ys, after = wrap(fn)(ost.asarray(ROWS))
    want, sums, rows = np.zeros(2, np.float32), 0.0, []
    for row in ROWS:
        sums += want.sum()
        want = (want + row) * 2
        rows.append(want)
    assert carry.item() == sums and count.numpy() == 3
    for got in (after, total):
        np.testing.assert_array_equal(got.numpy(), want)
    np.testing.assert_array_equal(ys.numpy(), rows)


@both
def test_a_branch_writes_only_where_it_runs(wrap: Any) -> None:
    a, b = variable(1.0, "a"), variable(2.0, "b")

    def yes() -> Any:
        a.assign(a + 10.0)
        return a * 1.0

    def no() -> Any:
        b.assign(a + b)
        return b * 1.0

    def fn(x: Any) -> Any:
        return ost.cond(x > 0.0, yes, no), a + 0.0, b + 0.0

    run = wrap(fn)
    for x, want in ((1.0, (11, 11, 2)), (-1.0, (13, 11, 13)), (2.0, (21, 21, 13))):
        assert tuple(y.item() for y in run(ost.asarray(x))) == want
        assert (a.numpy(), b.numpy()) == want[1:]


@both
def test_a_while_loop_decides_by_what_its_body_wrote(wrap: Any) -> None:
    v = variable(1.0)

    def double(_: Any) -> None:
        v.assign(v * 2.0)

    def fn(limit: Any) -> Any:
        ost.while_loop(lambda _: v < limit, double, None)
        return v.value()

    assert wrap(fn)(ost.asarray(50.0)).item() == 64.0 == v.numpy()
    assert wrap(fn)(ost.asarray(50.0)).item() == 64.0 == v.numpy()

    def three(x: Any) -> Any:
        return ost.while_loop(lambda x: x < 3.0, lambda x: (double(x), x + v)[1], x, max_steps=2)

    assert wrap(three)(ost.asarray(-900.0)).item() == -900.0 + 128.0 + 256.0
    assert v.numpy() == 256.0


@both
def test_bodies_nest(wrap: Any) -> None:
    v, hits = variable(1.0), variable(0, "hits", np.int64)

    def outer(scan: Any) -> Any:
        def grow(x: Any) -> Any:
            def inner(c: Any, _: Any) -> Any:
                v.assign(v + c * x)
                return c + v, None

            hits.assign(hits + 1)
            return scan(inner, x, [0.0, 1.0])[0]

        return grow

    def looped(xs: Any) -> Any:
        grow = outer(lambda f, c, xs: ost.scan(f, c, np.float32(xs)))
        return ost.scan(lambda c, x: (c + v, ost.cond(x > 0.0, grow, lambda x: x * v, x)), 0.0, xs)

    def plain(xs: Any) -> Any:
        grow = outer(plain_scan)

        def step(c: Any, x: Any) -> Any:
            return c + v, grow(x) if x.item() > 0 else x * v

        return plain_scan(step, ost.asarray(0.0), [ost.asarray(x) for x in xs])

    xs = np.float32([0.5, -1.0, 2.0, -0.25])
    want = [y.numpy() for y in plain(xs)]
    after = v.numpy()
    v.assign(1.0)
    for got, y in zip(wrap(looped)(ost.asarray(xs)), want, strict=True):
        np.testing.assert_array_equal(got.numpy(), y)
    assert v.numpy() == after and hits.numpy() == 4


@both
def test_a_value_read_before_is_not_the_variable(wrap: Any) -> None:
    v, other = variable(2.0), variable(2.0, "other")

    def fn() -> Any:
        first = v.value()  # the same value as the variable's when the loop begins

        def step(c: Any, _: Any) -> Any:
            v.assign(v + first)
            other.assign(v * other)
            return c + first, None

        return ost.scan(step, first, length=3)[0]

    assert wrap(fn)().item() == 8.0
    assert (v.numpy(), other.numpy()) == (8.0, 2.0 * 4 * 6 * 8)


@both
def test_a_function_may_give_nothing_but_writes(wrap: Any) -> None:
    v = variable(0.0)

    def add(x: Any) -> None:
        v.assign(v + x)

    def fn(xs: Any) -> Any:
        result = ost.scan(lambda _, x: (add(x), None), None, xs)
        assert result == (None, None)
        assert ost.cond(v > 0.0, lambda: add(1.0), lambda: None) is None
        assert ost.cond(v > 0.0, lambda: None, lambda: None) is None
        assert ost.scan(lambda _, x: (None, None), None, xs) == (None, None)
        return v.value()

    assert wrap(fn)(ost.asarray(np.float32([1, 2, 3]))).item() == 7.0 == v.numpy()


@both
@pytest.mark.parametrize("length", [0, 1])
def test_short_loops(wrap: Any, length: int) -> None:
    v = variable([3.0, 4.0])

    def step(c: Any, x: Any) -> Any:
        v.assign(v + x)
        return c + ost.sum(v), v * 1.0

    carry, ys = wrap(lambda xs: ost.scan(step, 0.0, xs))(ost.asarray(ROWS[:length]))
    want = np.float32([3, 4]) + ROWS[:length].sum(0)
    np.testing.assert_array_equal(v.numpy(), want)
    assert ys.shape == (length, 2) and carry.item() == length * want.sum()


def polynomial(scan: Any, v: Any) -> Any:
    def loss(xs: Any) -> Any:
        def step(c: Any, x: Any) -> Any:
            c = c + v * x * v  # of what the step before wrote
            v.assign(v * 2.0 + ost.sum(x))
            return c + ost.sin(v), None

        return ost.sum(scan(step, ost.zeros(2), xs)[0]) + ost.sum(v * v)

    return loss


def test_a_derivative_counts_every_value_that_was_read() -> None:
    v = variable([1.5, -1.0])
    found = []
    for scan in (ost.scan, plain_scan):
        loss = polynomial(scan, v)
        xs = ost.asarray(ROWS)
        v.assign([1.5, -1.0])
        by_state = ost.grad(loss, wrt=[v])(xs)[0]
        v.assign([1.5, -1.0])
        by_rows = ost.grad(loss)(xs)
        v.assign([1.5, -1.0])
        with ost.GradientTape() as tape:
            tape.watch(xs)
            value = loss(xs)
        found.append([by_state, by_rows, *tape.gradient(value, [v, xs]), v.value()])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5)
    np.testing.assert_array_equal(found[0][0].numpy(), found[0][2].numpy())


def test_derivatives_through_cond_and_while_loop() -> None:
    v = variable(2.0)

    def bump() -> Any:
        v.assign(v * v)
        return v * 1.0

    def branch(x: Any) -> Any:
        return ost.cond(x > 0.0, bump, lambda: v * v * v) + v * x

    for x, want in ((1.0, 1 + 1.0), (-1.0, 12 - 1.0)):
        v.assign(2.0)  # where it wrote, v' = 4 is read: by one, and by x
        assert ost.grad(branch, wrt=[v])(ost.asarray(x))[0].item() == want

    def loop(x: Any) -> Any:
        def body(x: Any) -> Any:
            x = x * v
            v.assign(v + 1.0)
            return x

        return ost.while_loop(lambda x: x < 50.0, body, x, max_steps=6)

    v.assign(2.0)  # x * 2 * 3 * 4 * 5
    by_v, by_x = (ost.grad(loop, wrt=wrt) for wrt in ([v], None))
    assert by_v(ost.asarray(1.0))[0].item() == 60 + 40 + 30 + 24
    assert v.numpy() == 6.0
    v.assign(2.0)
    assert by_x(ost.asarray(1.0)).item() == 120


def test_a_written_variable_costs_no_gradient_of_its_own() -> None:
    count = variable(np.zeros(64), "count")

    def loss(w: Any) -> Any:
        def step(c: Any, _: Any) -> Any:
            count.assign(count + 1.0)
            return ost.tanh(c * w), None

        return ost.sum(ost.scan(step, ost.ones(64), length=5)[0])

    fn = ost.compile(lambda w: ost.gradients(loss(w), [w])[0])
    fn(ost.ones(64))
    text = fn.trace(ost.ones(64)).optimized_text({})
    assert text.count(" scan@") == 2
    backward = text[text.rindex(" scan@") :]
    assert "carries = 2" in backward  # the cotangent of c, and the sum for w
    assert count.numpy()[0] == 5.0


def steps(loop: Any, optimizer: Any, w: Any) -> Any:
    def step(_: Any, x: Any) -> Any:
        loss = ost.sum(ost.square(w * x - 1.0))
        return None, (loss, optimizer.minimize(loss, [w]))

    return lambda xs: loop(step, None, xs)[1]


def unrolled(step: Any, init: Any, xs: Any) -> Any:
    ys = [step(None, xs[i])[1] for i in range(xs.shape[0])]
    return None, tuple(ost.stack(list(y)) for y in zip(*ys, strict=True))


@pytest.mark.parametrize("bad", [(), (1,), (0, 2)], ids=str)
@pytest.mark.parametrize("make", [lambda: optim.SGD(0.1, 0.9), lambda: optim.Adam(0.1)])
def test_a_loop_of_updates_is_one_step_as_the_unrolled_one(make: Any, bad: Any) -> None:
    xs = ROWS.copy()
    xs[list(bad)] = np.nan
    found = []
    for loop, wrap in ((unrolled, ost.compile), (ost.scan, ost.compile), (ost.scan, lambda f: f)):
        optimizer, w = make(), variable([1.0, -2.0], "w")
        run = wrap(steps(loop, optimizer, w))
        run(ost.asarray(ROWS))
        losses, committed = run(ost.asarray(xs))
        counters = [int(c.numpy()) for c in optimizer.variables[:3]]
        assert counters == ([6, 0, -1] if not bad else [3, 3, 3])
        state = [s.numpy() for s in optimizer.variables[3:]]
        found.append([w.numpy(), losses.numpy(), committed.numpy(), *state])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_what_a_branch_refuses_the_step_around_it_refuses() -> None:
    optimizer, w, seen = optim.SGD(1.0), variable([1.0], "w"), variable(0.0, "seen")

    @ost.compile
    def step(update: Any, g: Any) -> None:
        seen.assign(seen + 1.0)
        ost.cond(update, lambda: optimizer.apply([g], [w]), lambda: ost.asarray(True))

    good, nan = np.float32([0.5]), np.float32([np.nan])
    for update, g, want in (
        (True, good, (0.5, 1, [1, 0, -1])),
        (True, nan, (0.5, 1, [1, 1, 1])),
        (False, nan, (0.5, 2, [1, 1, 1])),
    ):
        step(ost.asarray(update), g)
        counters = [int(c.numpy()) for c in optimizer.variables[:3]]
        assert (w.numpy()[0], seen.numpy(), counters) == want


def test_layers_and_metrics_in_bodies() -> None:
    norm, mean = nn.BatchNormalization(momentum=0.5), ost.metrics.Mean()
    norm(ROWS)
    want_norm, want_mean = nn.BatchNormalization(momentum=0.5), ost.metrics.Mean()
    want_norm(ROWS)

    def step(norm: Any, mean: Any) -> Any:
        def run(_: Any, x: Any) -> Any:
            y = norm(x, training=True)
            mean.update_state(ost.sum(y * y) + x[0, 0])
            return None, y

        return run

    xs = np.stack([ROWS, ROWS * 2 + 1])
    ys = ost.compile(lambda xs: ost.scan(step(norm, mean), None, xs)[1])(xs)
    _, want = plain_scan(step(want_norm, want_mean), None, [ost.asarray(x) for x in xs])
    np.testing.assert_allclose(ys.numpy(), want.numpy(), rtol=1e-5, atol=1e-6)
    for a, b in zip(norm.variables, want_norm.variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)
    np.testing.assert_allclose(mean.result().numpy(), want_mean.result().numpy(), rtol=1e-6)


def test_draws_beside_writes_are_those_of_a_body_that_writes_nothing() -> None:
    v, rows = variable(0.0), []
    for writes in (False, True):
        generator = ost.random.Generator(7)

        def step(_: Any, x: Any, writes: bool = writes, g: Any = generator) -> Any:
            if writes:
                v.assign(v + 1.0)
            return None, ost.random.uniform((4,), generator=g)

        fn = ost.compile(lambda step=step: ost.scan(step, None, length=3)[1])
        rows.append([fn().numpy(), fn().numpy()])
        assert generator.variable.numpy()[1] == 2
    np.testing.assert_array_equal(rows[0], rows[1])
    assert len({row.tobytes() for row in np.reshape(rows[0], (6, 4))}) == 6


@both
def test_a_body_that_stops_changes_no_variable(wrap: Any) -> None:
    v, table = variable([1.0, 2.0]), variable(np.ones((3, 2)), "table")

    def step(_: Any, i: Any) -> Any:
        v.assign(v * 2.0)
        return None, ost.gather(table.value(), i)

    run = wrap(lambda rows: ost.scan(step, None, rows)[1])
    with pytest.raises(IndexError, match="gather: index 7 .*" + LINE):
        run(ost.asarray(np.array([0, 7])))
    assert v.numpy().tolist() == [1, 2]
    run(ost.asarray(np.array([0, 2])))
    assert v.numpy().tolist() == [4, 8]


@both
def test_a_function_that_raises_leaves_nothing_behind(wrap: Any) -> None:
    v = variable(1.0)

    def step(c: Any, x: Any) -> Any:
        v.assign(v + x)
        raise RuntimeError("of the user")

    with pytest.raises(RuntimeError, match="of the user"):
        wrap(lambda xs: ost.scan(step, 0.0, xs))(ost.asarray(np.float32([1, 2])))
    assert ost._native.current_trace() is None and v.numpy() == 1.0
    assert ost.scan(lambda c, x: (c + x * v, None), 0.0, np.float32([1, 2]))[0].item() == 3.0


def test_one_trace_serves_every_batch() -> None:
    v = variable(0.0)

    def step(c: Any, k: Any) -> Any:
        v.assign(v + ost.sum(c))
        return c * k, None

    fn = ost.compile(lambda x: ost.scan(step, x, np.float32([2, 3]))[0], dynamic_batch=True)
    for n in (3, 1, 0):
        assert fn(np.ones((n, 2), np.float32)).shape == (n, 2)
    assert v.numpy() == (6 + 12) + (2 + 4) and fn.num_traces == 1


def test_who_must_not_write() -> None:
    v = variable(1.0)

    def decides(c: Any) -> Any:
        v.assign(c)
        return c < 1.0

    message = "'v' is assigned inside a function .* in body_fn" + LINE
    with pytest.raises(ValueError, match=message):
        ost.while_loop(decides, lambda c: c, 0.0)
    with pytest.raises(ValueError, match="'v': cannot assign a value of float32.2..*" + LINE):
        ost.scan(lambda c, x: (v.assign(x), None), None, ROWS)

    @ost.custom_gradient
    def kept(x: Any) -> Any:
        return ost.scan(lambda c, r: (v.assign(c), c)[::-1], x, ROWS)[0], lambda g: g

    with pytest.raises(ValueError, match="'v' is assigned inside .*custom_gradient.*" + LINE):
        ost.compile(kept)(np.float32(1))


def test_text_of_loops_that_write_reads_back_and_runs_the_same() -> None:
    v = variable(1.0)

    def fn(start: Any, xs: Any) -> Any:
        def step(c: Any, x: Any) -> Any:
            v.assign(v + x)
            down = ost.while_loop(lambda c: c > v, lambda c: c * 0.5, c, max_steps=9)
            return ost.cond(x > 0.0, lambda c: c + v, lambda c: (v.assign(v * c), c)[1], down), c

        v.assign(start)  # the graph needs no state to run
        last, ys = ost.scan(step, 4.0, xs)
        return last, ys, v.value(), ost.gradients(last + ost.sum(ys), [xs])[0]

    start, xs = np.full((), 1.5, np.float32), np.float32([2, -1, 3])
    compiled = ost.compile(fn)
    graph = compiled.trace(start, xs)
    text = graph.text()
    assert ost._native.parse_graph(text) == text
    stateless = "\n".join(
        line for line in text.splitlines() if not line.startswith(("state ", "update "))
    )
    assert "state " not in stateless
    again = ost._native.compile_text(stateless).run([start, xs, *graph.captures])
    for a, b in zip(again, compiled(start, xs), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert again[2].numpy() == v.numpy()
