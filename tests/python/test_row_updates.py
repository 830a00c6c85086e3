# SPDX-License-Identifier: Apache-2.0
"""Tables that are updated by rows: the bits of the dense update, at a cost that ids decide.

A step that also returns the gradient of the table needs it whole, so its update is dense: that is
what steps by rows are compared with.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

import ostria as ost
from ostria import nn, optim

ROWS, WIDTH, BATCH = 500, 7, 64

EXACT = {
    "sgd": lambda: optim.SGD(0.01),
    "sgd of two rates": lambda: optim.SGD(0.01, learning_rate_multipliers={"table": 3.0}),
    "sgd of clipped elements": lambda: optim.SGD(0.1, clipvalue=0.5),
    "adagrad": lambda: optim.Adagrad(0.1),
    "adagrad of a scaled loss": lambda: optim.LossScaleOptimizer(optim.Adagrad(0.1), 3.0),
    "lazy ftrl": lambda: optim.Ftrl(0.1, l1_regularization_strength=0.01, lazy=True),
    "lazy adam": lambda: optim.Adam(0.1, lazy=True),
    "lazy adamw": lambda: optim.AdamW(0.1, weight_decay=0.0, lazy=True),
}


class Model:
    """A table, read once or twice in a step, a dense weight and a compiled step."""

    def __init__(self, optimizer, *, reads=1, whole=False, dtype="float32", rows=ROWS):
        rng = np.random.default_rng(0)
        self.table = ost.Variable(rng.normal(size=(rows, WIDTH)).astype(dtype), name="table")
        self.kernel = ost.Variable(rng.normal(size=(WIDTH, 3)).astype(dtype), name="kernel")
        self.optimizer = optimizer

        def step(ids, y):
            h = ost.gather(self.table, ids)
            for k in range(1, reads):
                h = h * ost.gather(self.table, ids // (k + 1))
            loss = ost.sum(ost.square(ost.matmul(h, self.kernel) - y))
            grads = optimizer.gradients(loss, [self.table, self.kernel])
            committed = optimizer.apply(grads, [self.table, self.kernel], loss=loss)
            return (committed, grads[0]) if whole else committed

        self.step = ost.compile(step, dynamic_batch=True)

    @property
    def state(self):
        return [v.numpy() for v in (self.table, self.kernel, *self.optimizer.variables)]

    def report(self):
        lines = self.step.explain(runs=1).splitlines()
        return [line.strip() for line in lines if line.strip().startswith("table ")]


def batches(dtype="float32", count=6, n=BATCH):
    rng = np.random.default_rng(1)
    for _ in range(count):
        ids = rng.integers(-ROWS, ROWS // 8, n)  # many twice, some counted from the end
        yield ids, rng.normal(size=(n, 3)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("reads", [1, 2, 3])
@pytest.mark.parametrize("name", EXACT)
def test_the_bits_are_those_of_the_dense_update(name, reads, dtype):
    by_rows = Model(EXACT[name](), reads=reads, dtype=dtype)
    dense = Model(EXACT[name](), reads=reads, dtype=dtype, whole=True)
    for ids, y in batches(dtype):
        assert by_rows.step(ids, y).item()
        dense.step(ids, y)
    for a, b in zip(by_rows.state, dense.state, strict=True):
        np.testing.assert_array_equal(a, b)
    shape = f"{dtype}[{ROWS}, {WIDTH}]"
    assert by_rows.report() == [f"table table {shape}: by rows, at most {reads * BATCH} a step"]
    assert dense.report() == [f"table table {shape}: dense: its gradient is a result too"]


def test_rows_that_nobody_reads_stay():
    model = Model(optim.Adagrad(0.1))
    before = model.table.numpy()
    ids = np.array([3, 7, 7, -1])
    model.step(ids, np.zeros((4, 3), np.float32))
    moved = np.any(model.table.numpy() != before, axis=1)
    assert np.flatnonzero(moved).tolist() == [3, 7, ROWS - 1]


@pytest.mark.parametrize("limit", ["clipnorm", "global_clipnorm"])
def test_clipping_by_a_norm_sees_duplicates_summed(limit):
    by_rows, dense = (Model(optim.SGD(0.1, **{limit: 1.0}), whole=w) for w in (False, True))
    for ids, y in batches():
        by_rows.step(ids, y)
        dense.step(ids, y)
    for a, b in zip(by_rows.state, dense.state, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-7)
    assert "by rows" in by_rows.report()[0]


@pytest.mark.parametrize(
    ("optimizer", "why"),
    [
        (lambda: optim.Adam(0.1), "adam_update is not exact by rows; lazy=True"),
        (lambda: optim.Ftrl(0.1), "ftrl_update is not exact by rows; lazy=True"),
        (lambda: optim.SGD(0.1, momentum=0.9), "momentum_update is not exact by rows"),
        (
            lambda: optim.Adagrad(0.1, weight_decay=0.1),
            "weight decay moves every row; exclude_from_weight_decay",
        ),
    ],
)
def test_the_report_says_why_a_table_stays_dense(optimizer, why):
    model = Model(optimizer())
    model.step(*next(batches()))
    assert model.report() == [f"table table float32[{ROWS}, {WIDTH}]: dense: {why}"]


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("reads", [1, 2])
def test_micro_batches_update_rows_too(reads, scaled):
    ends = []
    for decay in (0.0, 1e-30):  # 1 - lr decay is 1, but the update is dense
        rng = np.random.default_rng(0)
        start = rng.normal(size=(ROWS, WIDTH)) / 100  # smaller than a step: its last bits count
        table = ost.Variable(start.astype(np.float32), name="table")
        optimizer = optim.SGD(1.0, weight_decay=decay)
        if scaled:
            optimizer = optim.LossScaleOptimizer(optimizer, 3.0)

        def loss_of(ids, y, table=table):
            h = ost.gather(table, ids)
            for _ in range(1, reads):
                h = h * ost.gather(table, ids // 2)
            return ost.mean(ost.square(h[:, :3] - y))

        step = ost.compile(
            lambda ids, y, o=optimizer, f=loss_of, t=table: o.minimize_batch(f, [t], (ids, y)),
            accumulate=3,
        )
        for ids, y in batches():
            step(ids % 16, y)  # rows of all micro-batches and both reads
        text = step.explain(runs=1)
        assert (f"by rows, at most {reads * BATCH} a step" in text) == (decay == 0)
        ends.append(table.numpy())
    np.testing.assert_array_equal(*ends)


def test_a_table_that_a_loop_reads_is_named():
    table = ost.Variable(np.ones((ROWS, WIDTH), np.float32), name="table")

    @ost.compile
    def step(ids):
        add = lambda c, i: (c + ost.sum(ost.gather(table, i)), None)  # noqa: E731
        return optim.SGD(0.1).minimize(ost.scan(add, 0.0, ids)[0], [table])

    step(np.arange(6).reshape(3, 2))
    assert "dense: its gradient comes from scan" in step.explain(runs=1)


def test_a_regularised_table_stays_dense():
    table = nn.Embedding(ROWS, WIDTH, embeddings_regularizer=nn.regularizers.L2(0.01))
    table(np.array([0]))
    optimizer = optim.SGD(0.1)

    @ost.compile
    def step(ids):
        loss = ost.sum(table(ids)) + ost.sum(ost.square(table.embeddings.value()))
        return optimizer.minimize(loss, table.trainable_variables)

    step(np.arange(5))
    assert "its gradient also comes from" in step.explain(runs=1)


def test_a_table_without_decay_is_updated_by_rows():
    model = Model(optim.AdamW(0.1, weight_decay=0.1, lazy=True))
    model.optimizer.exclude_from_weight_decay(names=["table"])
    before = model.kernel.numpy()
    model.step(*next(batches()))
    assert "by rows" in model.report()[0]
    assert np.all(model.kernel.numpy() != before)


def test_an_id_outside_is_an_error_and_nothing_changes():
    model = Model(optim.Adagrad(0.1))
    ids, y = next(batches())
    model.step(ids, y)
    before = model.state
    ids[5] = ROWS
    with pytest.raises(IndexError, match=f"index {ROWS} .number 5 of {BATCH}. is out of range"):
        model.step(ids, y)
    for a, b in zip(before, model.state, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", EXACT)
def test_a_refused_step_changes_no_row(name):
    model = Model(EXACT[name]())
    ids, y = next(batches())
    model.step(ids, y)
    before = [v.numpy() for v in (model.table, model.kernel)]
    y[0, 0] = np.inf
    assert not model.step(ids, y).item()
    for a, b in zip(before, (model.table, model.kernel), strict=True):
        np.testing.assert_array_equal(a, b.numpy())


def test_an_empty_batch_changes_no_row():
    model = Model(optim.Adagrad(0.1))
    before = model.table.numpy()
    assert model.step(np.zeros(0, np.int64), np.zeros((0, 3), np.float32)).item()
    assert "by rows, at most 0 a step" in model.report()[0]
    np.testing.assert_array_equal(model.table.numpy(), before)


# --- Lazy Adam ------------------------------------------------------------------------------------


def lazy_adam(w, ids_of_steps, grads, rate, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    """Kingma and Ba's update of the rows that a step names; step numbers are those of all."""
    w, m, v = w.copy(), np.zeros_like(w), np.zeros_like(w)
    for t, (ids, g) in enumerate(zip(ids_of_steps, grads, strict=True), 1):
        total = np.zeros_like(w)
        np.add.at(total, ids, g)
        rows = np.unique(ids)
        m[rows] += (total[rows] - m[rows]) * (1 - beta_1)
        v[rows] += (total[rows] ** 2 - v[rows]) * (1 - beta_2)
        alpha = rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        w[rows] -= alpha * m[rows] / (np.sqrt(v[rows]) + epsilon)
    return w, m, v


@pytest.mark.parametrize("compiled", [False, True])
def test_lazy_adam_moves_only_rows_with_a_gradient(compiled):
    rng = np.random.default_rng(2)
    start = rng.normal(size=(40, 5))
    ids = [rng.integers(0, 40, 9) for _ in range(12)]
    grads = [rng.normal(size=(9, 5)) for _ in ids]
    table, optimizer = ost.Variable(start, name="table"), optim.Adam(0.01, lazy=True)

    def step(ids, g):
        loss = ost.sum(ost.gather(table, ids) * g)
        return optimizer.minimize(loss, [table])

    if compiled:
        run = ost.compile(step)
    else:

        def run(ids, g):
            with ost.GradientTape() as tape:
                loss = ost.sum(ost.gather(table, ids) * g)
            return optimizer.apply(tape.gradient(loss, [table]), [table])

    for i, g in zip(ids, grads, strict=True):
        run(ost.asarray(i), ost.asarray(g))
    slots = {v.name: v for v in optimizer.variables}
    got = [table, slots["table/adam_m"], slots["table/adam_v"]]
    for variable, want in zip(
        got, lazy_adam(start, ids, grads, float(np.float32(0.01))), strict=True
    ):
        np.testing.assert_allclose(variable.numpy(), want, rtol=1e-9, atol=1e-12)
    if compiled:
        assert "table table float64[40, 5]: by rows, at most 9 a step" in run.explain(runs=1)


# --- Cost -----------------------------------------------------------------------------------------


WIDE, READ = 64, 512  # of the tables below: the size of a row, the ids of a step


def embedding_step(rows, optimizer=lambda: optim.SGD(0.1)):
    """A step that trains a table of so many rows, and ids that no two steps share."""
    table = nn.Embedding(rows, WIDE, embeddings_initializer="zeros")
    rng = np.random.default_rng(4)

    def draw():
        return ost.asarray(rng.integers(0, rows, READ))

    table(draw())
    optimizer = optimizer()

    @ost.compile
    def step(ids):
        loss = ost.mean(ost.square(table(ids) - 1.0))
        return optimizer.minimize(loss, table.trainable_variables)

    return step, draw


def test_no_gradient_as_large_as_the_table_is_planned():
    step, draw = embedding_step(1_000_000)
    plan = step.memory_plan(draw())
    table = 1_000_000 * WIDE * 4
    assert table <= plan["state_bytes"] < table + 10_000
    assert plan["activation_bytes"] + plan["constant_bytes"] < 2_000_000


@pytest.mark.parametrize(("name", "slots"), [("sgd", 0), ("adagrad", 1), ("lazy adam", 2)])
def test_the_bytes_of_a_step_do_not_grow_with_the_table(name, slots):
    plans = []
    for rows in (10_000, 100_000, 1_000_000):
        step, draw = embedding_step(rows, EXACT[name])
        plans.append(step.memory_plan(draw()))
    for key in ("moved_bytes", "fused_bound_bytes"):
        assert len({plan[key] for plan in plans}) == 1, [plan[key] for plan in plans]
    # Gathered, the loss and its gradient, summed, checked; then weight and slots, read and written.
    rows_bytes = READ * WIDE * 4
    least = (2 + 2 * (1 + slots)) * rows_bytes
    assert least < plans[0]["moved_bytes"] < least + 8 * rows_bytes


def test_the_bytes_of_a_dense_update_are_those_of_the_table():
    step, draw = embedding_step(10_000, lambda: optim.SGD(0.1, weight_decay=0.1))
    assert step.memory_plan(draw())["moved_bytes"] > 4 * 10_000 * WIDE * 4


def test_the_time_of_a_step_does_not_grow_with_the_table():
    # A row of the large table comes from memory, one of the small table from a cache.
    steps = {rows: embedding_step(rows) for rows in (10_000, 1_000_000)}
    times = {rows: [] for rows in steps}
    for window in range(12):
        for rows, (step, draw) in steps.items():
            batches = [draw() for _ in range(10)]
            begin = time.perf_counter()
            for ids in batches:
                step(ids)
            if window > 1:
                times[rows].append(time.perf_counter() - begin)
    small, large = (min(t) for t in times.values())
    assert large < 10 * small, (small, large)  # a dense gradient: about 100 times


def tables(whole):
    """A model of four tables; whole: its steps return rows and gradients, so they are dense."""
    rng = np.random.default_rng(3)
    weights = [
        ost.Variable(rng.normal(size=(900, n)).astype("float32"), name=f"w{i}")
        for i, n in enumerate((5, 16, 1, 1))
    ]
    optimizer = optim.Adagrad(0.1)

    @ost.compile
    def step(ids, x, y):
        rows = [ost.gather(w, ids[:, i]) for i, w in enumerate(weights[:2])]
        h = ost.concat([ost.concat(rows, axis=1), x], axis=1)
        wide = [ost.gather(w, ids[:, i]) for i, w in enumerate(weights[2:])]
        wide = ost.sum(ost.stack(wide), axis=0)
        loss = ost.mean(
            ost.square(ost.mean(ost.tanh(h) * x[:, :1], axis=1, keepdims=True) + wide - y)
        )
        grads = ost.gradients(loss, weights)
        optimizer.apply(grads, weights, loss=loss)
        return (loss, *rows, *grads) if whole else loss

    return weights, step, optimizer


def test_joined_tables_have_the_bits_of_separate_ones():
    rng = np.random.default_rng(4)
    joined, separate = tables(whole=False), tables(whole=True)
    for _ in range(4):
        ids = rng.integers(-900, 60, (64, 2))
        x, y = (rng.normal(size=(64, n)).astype("float32") for n in (3, 1))
        joined[1](ids, x, y)
        separate[1](ids, x, y)
    for a, b in zip(
        [*joined[0], *joined[2].variables], [*separate[0], *separate[2].variables], strict=True
    ):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert "gather_concat" in joined[1].explain(runs=1)


def test_an_index_outside_of_a_joined_table_is_an_error_at_its_own_line():
    a, b = (ost.Variable(np.zeros((9, 2), "float32"), name=name) for name in "ab")

    def rows(i, j):
        x = ost.gather(a, i)
        y = ost.gather(b, j)
        return ost.concat([x, y], axis=1)

    line, compiled = rows.__code__.co_firstlineno, ost.compile(rows)
    with pytest.raises(IndexError, match=rf"^gather: index 9 .*test_row_updates.py:{line + 2}\]"):
        compiled(np.array([0]), np.array([9]))
    with pytest.raises(IndexError, match=rf"^gather: index 9 .*test_row_updates.py:{line + 1}\]"):
        compiled(np.array([9]), np.array([0]))
