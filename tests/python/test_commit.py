# SPDX-License-Identifier: Apache-2.0
"""Steps of several updates: what one of them refuses, none of them does."""

from __future__ import annotations

import numpy as np
import pytest

import ostria as ost
from ostria import nn, optim

GOOD = [np.array(v, np.float32) for v in ([1, 2, 3], [3, 1, 2], [0, 1, 5])]
NAN = np.array([0, np.nan, 0], np.float32)


def snapshot(vs):
    return [v.numpy().tobytes() for v in vs]


class Pair:
    """Two optimizers; the second's gradients go through the weights that the first has updated."""

    def __init__(self):
        self.d, self.g = (
            ost.Variable(np.array(values, np.float32), name=name)
            for name, values in (("d", [1, 2, 3]), ("g", [0.5, -1, 2]))
        )
        self.d_opt = optim.Adam(0.1, name="d_opt")
        self.g_opt = optim.SGD(0.1, 0.9, name="g_opt")
        self.norm, self.mean = nn.BatchNormalization(), ost.metrics.Mean()
        self.norm(np.ones((2, 3), np.float32))  # makes its weights
        self.noise = ost.random.Generator(1)
        self.d_opt.build([self.d])
        self.g_opt.build([self.g])

    def first(self, x):
        self.d_opt.learning_rate.assign(self.d_opt.learning_rate * 0.5)
        return self.d_opt.minimize(ost.sum(ost.square(x * self.d - 1.0)), [self.d])

    def second(self, y):
        return self.g_opt.minimize(ost.sum(y * self.d * self.g * self.g), [self.g])

    def rest(self, z):
        self.mean.update_state(ost.sum(z))
        self.norm(ost.reshape(z, (1, 3)) * [[1.0], [2.0]], training=True)
        return ost.random.uniform((2,), generator=self.noise)

    def both(self, x, y, z):
        self.first(x)
        noise = self.rest(z)
        return self.second(y), noise

    def counters(self):
        return [
            [int(v.numpy()) for v in (o.iterations, o.skipped, o.first_bad_step)]
            for o in (self.d_opt, self.g_opt)
        ]

    def state(self):
        counters = ("iterations", "skipped", "first_bad_step")
        own = [v for o in (self.d_opt, self.g_opt) for v in o.variables]
        own = [v for v in own if not v.name.endswith(counters)]
        return snapshot([self.d, self.g, *own, *self.norm.variables, *self.mean.variables])


@pytest.mark.parametrize("refuses", ["first", "second", "both"])
def test_a_step_of_two_optimizers_changes_all_or_nothing(refuses):
    x, y, z = GOOD
    damaged = (x if refuses == "second" else NAN, y if refuses == "first" else NAN, z)
    pair, spared = Pair(), Pair()
    step = ost.compile(pair.both)
    committed, _ = step(x, y, z)
    assert committed.item() is True and pair.counters() == [[1, 0, -1], [1, 0, -1]]
    before = pair.state()
    for skipped in (1, 2):
        committed, noise = step(*damaged)
        assert committed.item() is False and pair.state() == before
        assert pair.counters() == [[1, skipped, 1], [1, skipped, 1]]
    committed, last_noise = step(x, y, z)
    assert committed.item() is True and pair.counters() == [[2, 2, 1], [2, 2, 1]]
    assert pair.noise.variable.numpy()[1] == 4  # refused steps use up their numbers
    assert last_noise.numpy().tolist() != noise.numpy().tolist()

    never_damaged = ost.compile(spared.both)
    never_damaged(x, y, z)
    never_damaged(x, y, z)
    assert pair.state() == spared.state()


def test_a_good_step_of_two_optimizers_is_two_steps():
    x, y, z = GOOD
    joint, apart = Pair(), Pair()
    step = ost.compile(joint.both)
    first, second, rest = (ost.compile(f) for f in (apart.first, apart.second, apart.rest))
    for _ in range(3):
        step(x, y, z)
        first(x)
        second(y)
        rest(z)
    assert joint.state() == apart.state() and joint.counters() == apart.counters()


@pytest.mark.parametrize("bad", [[0], [1], [2], [0, 2]])
def test_updates_in_a_loop_are_one_step(bad):
    optimizers = optim.Adam(0.1), optim.Adam(0.1)
    w, alone = (ost.Variable(np.ones(3, np.float32), name="w") for _ in range(2))
    for optimizer, v in zip(optimizers, (w, alone), strict=True):
        optimizer.build([v])
    step = ost.compile(lambda *gs: [optimizers[0].apply([g], [w]) for g in gs][-1])
    update = ost.compile(lambda g: optimizers[1].apply([g], [alone]))

    def state(optimizer, v):
        return snapshot([v, *[s for s in optimizer.variables if s.name.startswith("w/")]])

    before = state(optimizers[0], w)
    assert step(*[NAN if i in bad else g for i, g in enumerate(GOOD)]).item() is False
    assert state(optimizers[0], w) == before
    assert [int(v.numpy()) for v in optimizers[0].variables[:3]] == [0, 3, 0]
    for _ in range(2):
        assert step(*GOOD).item() is True
        for g in GOOD:
            update(g)
    assert state(optimizers[0], w) == state(optimizers[1], alone)
    assert [int(v.numpy()) for v in optimizers[0].variables[:3]] == [6, 3, 0]


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_assignment_beside_the_update_is_refused_with_it(when):
    optimizer, w = optim.SGD(1.0), ost.Variable(np.ones(3, np.float32), name="w")

    @ost.compile
    def step(g):
        if when == "before":
            w.assign(w * 2.0)
        committed = optimizer.apply([g], [w])
        if when == "after":
            w.assign(ost.clip(w, -0.5, 0.5))
        return committed

    assert step(NAN).item() is False and w.numpy().tolist() == [1, 1, 1]
    assert step(GOOD[0]).item() is True
    assert w.numpy().tolist() == ([1, 0, -1] if when == "before" else [0, -0.5, -0.5])


def test_one_optimizer_adds_no_selection():
    optimizer, w = optim.Adam(), ost.Variable(np.ones(3, np.float32), name="w")
    text = ost.compile(lambda g: optimizer.apply([g], [w])).trace(GOOD[0]).text()
    assert text.count(" where@") == 1  # of first_bad_step


def test_each_update_under_a_tape_is_a_step():
    optimizer, w = optim.SGD(1.0), ost.Variable(np.ones(3, np.float32), name="w")
    with ost.GradientTape():
        assert [optimizer.apply([g], [w]).item() for g in (NAN, GOOD[0])] == [False, True]
    assert w.numpy().tolist() == [0, -1, -2]
    assert [int(v.numpy()) for v in optimizer.variables[:3]] == [1, 1, 0]
