# SPDX-License-Identifier: Apache-2.0
"""A step whose data hold a bad index changes no state: on the CPU, which stops there, and on a GPU,
which does not. Here the GPU's driver is the one that runs kernels on the host."""

from __future__ import annotations

import pytest
from fake_gpu import run  # noqa: F401

DEVICES = ("cpu", "cuda:0")

# A model whose state is of every kind: weights and slots, batch statistics, a metric, a generator,
# counters, and what is assigned before and after the ops that look at indices.
MODEL = """
import numpy as np
import ostria as ost
from ostria import nn, optim

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, 5)
        self.norm = nn.BatchNormalization()
        self.dense = nn.Dense(3)

    def __call__(self, ids, training=False):
        return self.dense(self.norm(self.table(ids), training=training))

model = Model()
ids, labels = np.array([1, 6, 2, 2]), np.array([0, 2, 1, 1])
model(ids)
optimizer = optim.Adam(0.1)
optimizer.build(model.trainable_variables)
loss_fn = ost.losses.SparseCategoricalCrossentropy(from_logits=True)
metric = ost.metrics.Mean()
noise = ost.random.Generator(3)
before, after, seen = (
    ost.Variable(np.zeros(n, np.float32), name=name)
    for name, n in (("before", 4), ("after", 3), ("seen", 7))
)

@ost.compile(device=DEVICE)
def step(ids, labels, late):
    before.assign(before.value() + 1.0)
    noisy = ost.random.uniform((4,), generator=noise)
    loss = loss_fn(labels, model(ids, training=True)) + ost.mean(noisy) * 0.0
    metric.update_state(loss)
    optimizer.minimize(loss, model.trainable_variables)
    after.assign(after.value() + ost.take(ost.asarray(np.ones(3, np.float32)), late))
    seen.assign(ost.scatter_add(seen.value(), ids, ost.asarray(np.ones(4, np.float32))))
    return loss

def variables():
    own = [*model.variables, *optimizer.variables, *metric.variables, noise.variable]
    return [*own, before, after, seen]

def state():
    return [v.numpy().tobytes() for v in variables()]

def expect(text, call):
    try:
        call()
    except IndexError as error:
        for part in (*text, "<string>:"):
            assert part in str(error), (part, str(error))
    else:
        raise SystemExit("no error")

late = np.array([0, 1, 2])
good = (ids, labels, late)
BAD = {
    "ids": (np.array([1, 6, 9, 2]), labels, late),
    "labels": (ids, np.array([0, 3, 1, 1]), late),
    "late": (ids, labels, np.array([0, 1, 5])),
}
TEXT = {
    "ids": ("index 9", "-7..6"),
    "labels": ("3", "2"),
    "late": ("index 5", "-3..2"),
}
"""


@pytest.mark.parametrize("which", ["ids", "labels", "late"])
@pytest.mark.parametrize("device", DEVICES)
def test_a_bad_index_changes_nothing_and_the_function_goes_on(run, device, which):  # noqa: F811
    run(
        f"DEVICE, WHICH = {device!r}, {which!r}"
        + MODEL
        + """
for _ in range(3):
    step(*good).item()
last = state()
for _ in range(3):
    expect(TEXT[WHICH], lambda: step(*BAD[WHICH]).item())
    assert state() == last
step(*good).item()
assert state() != last
"""
    )


def test_what_was_put_behind_a_bad_step_changes_nothing_either(run):  # noqa: F811
    run(
        "DEVICE = 'cuda:0'"
        + MODEL
        + """
for _ in range(3):
    step(*good)
last = state()
losses = []
def ahead():
    for data in (BAD["ids"], good, good, good):
        losses.append(step(*data))
    losses[0].item()
expect(TEXT["ids"], ahead)
assert state() == last
step(*good).item()
assert state() != last
"""
    )


def test_both_devices_leave_the_same_state(run):  # noqa: F811
    program = (
        MODEL
        + """
for k, which in enumerate(["ids", "labels", "late"] * 2):
    step(*good).item()
    try:
        step(*BAD[which]).item()
    except IndexError:
        pass
print([v.numpy().astype(np.float64).ravel().tolist() for v in variables()])
"""
    )
    import ast

    import numpy as np

    cpu, gpu = (ast.literal_eval(run(f"DEVICE = {d!r}" + program)) for d in DEVICES)
    assert len(cpu) == len(gpu) > 10
    for a, b in zip(cpu, gpu, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_what_is_computed_from_bad_data_eagerly_is_not_assigned(run, device):  # noqa: F811
    run(
        f"DEVICE = {device!r}"
        + """
import numpy as np
import ostria as ost
with ost.device(DEVICE):
    table = ost.Variable(np.arange(4, dtype=np.float32), name="table")
    try:
        row = ost.take(table.value(), ost.asarray(np.array([0, 8, 1, 2])))
        table.assign(row + 1.0)
        raise SystemExit("no error")
    except IndexError as error:
        assert "index 8" in str(error) and "-4..3" in str(error), error
    np.testing.assert_array_equal(table.numpy(), np.arange(4))
    table.assign(ost.take(table.value(), ost.asarray(np.array([0, 3, 1, 2]))))
    np.testing.assert_array_equal(table.numpy(), [0, 3, 1, 2])
"""
    )


def test_a_step_that_checks_nothing_is_not_guarded(run):  # noqa: F811
    run(
        """
import numpy as np
import ostria as ost
w = ost.Variable(np.zeros(3, np.float32), name="w")

@ost.compile(device="cuda")
def plain(x):
    w.assign(w.value() + x)

@ost.compile(device="cuda")
def picks(x):
    w.assign(w.value() + ost.take(x, np.array([0, 1, 1])))

x = np.ones(3, np.float32)
plain(x), picks(x)
assert "data_accepted" not in str(plain.explain()), plain.explain()
assert str(picks.explain()).count(": data_accepted <word>") == 1, picks.explain()
"""
    )


def test_a_guarded_step_selects_inside_of_loops_that_run_anyway(run):  # noqa: F811
    run(
        """
import re
import numpy as np
import ostria as ost
from ostria import nn, optim
model = nn.Sequential([nn.Dense(6), nn.BatchNormalization(), nn.Dense(3)])
x, y = np.ones((4, 5), np.float32), np.array([0, 2, 1, 1])
model(x)
optimizer, metric = optim.Adam(0.1), ost.metrics.SparseCategoricalAccuracy()
loss_fn = ost.losses.SparseCategoricalCrossentropy(from_logits=True)

@ost.compile(device="cuda")
def step(x, y):
    logits = model(x, training=True)
    loss = loss_fn(y, logits)
    metric.update_state(y, logits)
    optimizer.minimize(loss, model.trainable_variables)
    return loss

step(x, y).item()
plan = str(step.explain())
assert plan.count(": data_accepted <word>") == 1, plan
assert not re.search(r": where <", plan), plan  # every selection is part of the loop before it
"""
    )
