# SPDX-License-Identifier: Apache-2.0
"""What is written into Variables: derivatives by them, and runs that stop half way."""

from __future__ import annotations

import numpy as np
import pytest

import ostria as ost
from ostria import optim


def variable(values, name="w"):
    return ost.Variable(np.asarray(values, np.float32), name=name)


def descend(w, optimizer, steps):
    for _ in range(steps):
        optimizer.minimize(ost.sum(ost.square(w)), [w])


@pytest.mark.parametrize("make", [lambda: optim.SGD(0.1), lambda: optim.SGD(0.1, 0.9), optim.Adam])
def test_several_updates_in_one_function_equal_as_many_calls(make) -> None:
    together, apart = variable([1, -2], "a"), variable([1, -2], "b")
    a, b = make(), make()
    ost.compile(lambda: descend(together, a, 3))()
    one = ost.compile(lambda: descend(apart, b, 1))
    for _ in range(3):
        one()
    np.testing.assert_array_equal(together.numpy(), apart.numpy())


def test_steps_by_hand_follow_each_other() -> None:
    w = variable([1.0])

    @ost.compile
    def two_steps():
        for _ in range(2):
            (g,) = ost.gradients(ost.sum(ost.square(w)), [w])
            w.assign(w - 0.1 * g)

    two_steps()
    np.testing.assert_allclose(w.numpy(), [0.64], rtol=1e-6)


def test_a_derivative_counts_every_value_that_was_read() -> None:
    w = variable([3.0])

    @ost.compile
    def step():
        before = ost.sum(ost.square(w))
        w.assign(w * 2.0)
        return ost.gradients(before + ost.sum(ost.square(w)), [w])[0]

    assert step().numpy().tolist() == [2 * 3.0 + 2 * 6.0]


def test_what_was_written_stays_differentiable_by_other_values() -> None:
    x = ost.asarray([2.0])
    w = variable([0.0])

    def through(x):
        y = x * x
        w.assign(y)
        return ost.sum(y * 3.0)

    assert ost.grad(through)(x).numpy().tolist() == [12.0]
    assert w.numpy().tolist() == [4.0]


def test_an_index_out_of_range_leaves_every_variable_as_it_was() -> None:
    v, table = variable([1, 2, 3], "v"), variable([[1, 1], [2, 2]], "table")

    @ost.compile
    def step(i):
        v.assign(v * 2.0)
        table.assign(table + 1.0)
        return ost.gather(v.value(), i)

    with pytest.raises(IndexError, match=r"index 7 .* is out of range for an axis of size 3"):
        step(ost.asarray([7]))
    assert v.numpy().tolist() == [1, 2, 3]
    assert table.numpy().tolist() == [[1, 1], [2, 2]]
    assert step(ost.asarray([2])).numpy().tolist() == [6]
    assert v.numpy().tolist() == [2, 4, 6]


@pytest.mark.parametrize("wrap", [lambda f: f, ost.compile])
def test_a_variable_is_added_to_and_subtracted_from(wrap) -> None:
    w, count = variable([1.0, 2.0]), ost.Variable(np.int64(7), name="count")

    def run(x):
        w.assign_add(x)
        w.assign_sub([0.5, 0.0])
        count.assign_sub(2)
        return w * 1.0

    assert wrap(run)(ost.asarray([10.0, 20.0])).numpy().tolist() == [10.5, 22.0]
    assert w.numpy().tolist() == [10.5, 22.0] and count.numpy() == 5
    for bad in (np.ones(2), np.ones((2, 2), np.float32)):
        with pytest.raises(ValueError, match=r"'w': cannot assign .*; it holds float32.2.; use c"):
            wrap(lambda bad=bad: w.assign_add(bad))()
