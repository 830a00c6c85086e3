# SPDX-License-Identifier: Apache-2.0
"""Random numbers: the same for any split of the batch, a step further at each call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import ostria as ost


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    ost.random.seed(1)
    yield
    ost.random.seed(0)


DRAWS = [ost.random.uniform, ost.random.normal, ost.random.truncated_normal]


def split(draw: Any, rows: list[int]) -> Any:
    """The rows of one batch, drawn in parts that know where they begin."""
    parts, at = [], 0
    for n in rows:
        generator = ost.random.Generator(7)
        offset = np.array(at, np.int64)
        parts.append(draw((n, 5), generator=generator, offset=offset).numpy())
        at += n
    return np.concatenate(parts)


@pytest.mark.parametrize("draw", DRAWS, ids=lambda f: f.__name__)
def test_any_split_of_a_batch_draws_the_same(draw: Any) -> None:
    whole = split(draw, [12])
    for rows in ([6, 6], [1, 11], [5, 0, 7], [1] * 12):
        np.testing.assert_array_equal(split(draw, rows), whole)
    assert len(np.unique(whole)) == whole.size


def test_dropout_keeps_the_same_units_for_any_split() -> None:
    x = np.ones((10, 6), np.float32)

    def part(a: int, b: int) -> Any:
        generator = ost.random.Generator(3)
        offset = np.array(a, np.int64)
        return ost.random.dropout(x[a:b], 0.5, generator=generator, offset=offset).numpy()

    whole = part(0, 10)
    assert set(np.unique(whole)) == {0.0, 2.0}
    np.testing.assert_array_equal(np.concatenate([part(0, 3), part(3, 4), part(4, 10)]), whole)


def test_compiled_and_eager_draw_the_same() -> None:
    compiled = ost.compile(lambda: ost.random.normal((4,)))
    eager = []
    for _ in range(3):
        eager.append(ost.random.normal((4,)).numpy())
    ost.random.seed(1)
    for values in eager:
        np.testing.assert_array_equal(compiled().numpy(), values)
    assert compiled.num_traces == 1


def test_each_call_of_a_compiled_function_is_a_step_further() -> None:
    f = ost.compile(lambda: (ost.random.uniform((3,)), ost.random.uniform((3,))))
    seen = [value.numpy().tolist() for _ in range(3) for value in f()]
    assert len({tuple(v) for v in seen}) == 6
    state = ost.random.default_generator().variable.numpy()
    assert state.tolist() == [1, 3]  # seed, steps: two draws of a call share a step


def test_draws_under_a_tape_are_those_without_one() -> None:
    eager = [ost.random.normal((4,)).numpy() for _ in range(4)]
    ost.random.seed(1)
    recorded = []
    for _ in range(2):
        with ost.GradientTape():
            recorded += [ost.random.normal((4,)).numpy() for _ in range(2)]
    np.testing.assert_array_equal(recorded, eager)


def test_a_seed_starts_over() -> None:
    a = ost.random.normal((3,)).numpy()
    b = ost.random.normal((3,)).numpy()
    ost.random.seed(1)
    np.testing.assert_array_equal(ost.random.normal((3,)).numpy(), a)
    ost.random.seed(2)
    c = ost.random.normal((3,)).numpy()
    assert not np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_generators_do_not_disturb_each_other() -> None:
    a, b = ost.random.Generator(5), ost.random.Generator(5)
    first = ost.random.uniform((3,), generator=a).numpy()
    ost.random.uniform((3,), generator=a)
    ost.random.uniform((3,))
    np.testing.assert_array_equal(ost.random.uniform((3,), generator=b).numpy(), first)


def test_moments_and_limits() -> None:
    n = 200_000
    u = ost.random.uniform((n,), -2.0, 4.0).numpy()
    assert -2 <= u.min() < -1.99
    assert 3.99 < u.max() < 4
    assert u.mean() == pytest.approx(1.0, abs=0.02)
    z = ost.random.normal((n,), 3.0, 2.0).numpy()
    assert z.mean() == pytest.approx(3.0, abs=0.02)
    assert z.std() == pytest.approx(2.0, abs=0.02)
    t = ost.random.truncated_normal((n,), 1.0, 0.5).numpy()
    assert abs(t - 1).max() <= 1.0
    assert t.std() == pytest.approx(0.5 * 0.87962566, abs=0.01)


def test_a_permutation_is_one() -> None:
    p = ost.random.permutation(1000).numpy()
    assert p.dtype == np.int64
    assert sorted(p) == list(range(1000))
    assert (p == np.arange(1000)).sum() < 20
    assert not np.array_equal(p, ost.random.permutation(1000).numpy())


def test_dropout_is_repeated_in_the_backward_pass() -> None:
    x = np.ones((50, 20), np.float32)

    def f(x: Any) -> Any:
        y = ost.random.dropout(x, 0.3)
        return ost.sum(y * 3.0), y

    g, y = ost.grad(f, has_aux=True)(x)
    np.testing.assert_allclose(g.numpy(), 3 * y.numpy())
    assert 0.2 < (y.numpy() == 0).mean() < 0.4


def test_weights_start_the_same_whatever_was_drawn_before() -> None:
    def kernel() -> Any:
        model = ost.nn.Sequential([ost.nn.Dense(3), ost.nn.Dense(3)])
        model(ost.ones((1, 4)))
        return [v.numpy() for v in model.variables if v.name.endswith("kernel")]

    first = kernel()
    ost.random.normal((100,))
    for a, b in zip(first, kernel(), strict=True):
        np.testing.assert_array_equal(a, b)
    ost.random.seed(2)
    assert not np.array_equal(kernel()[0], first[0])
    assert first[0].shape != first[1].shape or not np.array_equal(first[0], first[1])


def _noisy(generator):
    @ost.custom_gradient
    def noisy(x):
        mask = ost.random.uniform((64,), generator=generator)
        return x * mask, lambda g: g * mask

    return noisy


def test_draws_of_a_function_with_its_own_gradient_move_the_generator_on() -> None:
    generator = ost.random.Generator(3)
    noisy = _noisy(generator)

    @ost.compile
    def step(x):
        y, z = noisy(x), noisy(x)
        return y, z, ost.gradients(ost.sum(y) + 2.0 * ost.sum(z), [x])[0]

    seen = []
    for _ in range(2):
        y, z, g = (a.numpy() for a in step(np.ones(64, np.float32)))
        np.testing.assert_allclose(g, y + 2.0 * z, rtol=1e-6)  # the gradient repeats its draws
        seen += [y.tobytes(), z.tobytes()]
    assert len(set(seen)) == 4 and generator.variable.numpy()[1] == 2

    x = ost.ones(64)
    for _ in range(2):
        with ost.GradientTape() as tape:
            tape.watch(x)
            y = noisy(x)
        np.testing.assert_array_equal(tape.gradient(y, x).numpy(), y.numpy())
        seen.append(y.numpy().tobytes())
    assert len(set(seen)) == 6 and generator.variable.numpy()[1] == 4


@pytest.mark.parametrize("wrap", [lambda f: f, ost.compile], ids=["eager", "compiled"])
def test_draws_differ_in_every_step_of_nested_loops_and_branches(wrap) -> None:
    generator = ost.random.Generator(3)
    noisy = _noisy(generator)

    def draw(_):
        return ost.random.uniform((64,), generator=generator)

    def fn(x):
        in_branch = ost.scan(
            lambda c, f: (c, ost.cond(f > 0.0, draw, lambda f: ost.zeros(64), f)), None, x
        )[1]
        inner = ost.scan(
            lambda c, _: (c, ost.scan(lambda c, f: (c, draw(f)), None, x)[1]), None, x
        )[1]
        own = ost.scan(lambda c, f: (c, noisy(ost.ones(64) * f)), None, x)[1]
        return [*in_branch, *inner[0], *inner[1], *inner[2], *own]

    rows = [row.numpy().tobytes() for row in wrap(fn)(ost.ones(3))]
    assert len(set(rows)) == 3 + 9 + 3
