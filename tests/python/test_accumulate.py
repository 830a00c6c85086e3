# SPDX-License-Identifier: Apache-2.0
"""Micro-batches and memory budgets: the same step in less memory."""

import numpy as np
import pytest

import ostria as ost
from ostria import nn, optim

RNG = np.random.default_rng(0)
X = RNG.standard_normal((512, 32)).astype(np.float32)
Y = RNG.integers(0, 4, 512)


def trained(steps=5, rows=512, loss_scale=False, width=32, depth=2, **options):
    """Losses, weights, and the compiled step, of an MLP with dropout."""
    ost.random.seed(0)
    layers = []
    for _ in range(depth):
        layers += [nn.Dense(width, activation="tanh"), nn.Dropout(0.3)]
    model = nn.Sequential([*layers, nn.Dense(4)])
    optimizer = optim.SGD(0.1)
    if loss_scale:
        optimizer = optim.LossScaleOptimizer(optimizer)

    def loss_of(x, y):
        return ost.mean(ost.sparse_softmax_cross_entropy(model(x, training=True), y))

    @ost.compile(**options)
    def step(x, y):
        return optimizer.minimize_batch(loss_of, lambda: model.trainable_variables, (x, y))

    losses = [step(X[:rows], Y[:rows]).item() for _ in range(steps)]
    return losses, [v.numpy() for v in model.trainable_variables], step


@pytest.mark.parametrize(("rows", "k"), [(64, 4), (64, 5), (10, 3), (3, 8), (1, 2)])
@pytest.mark.parametrize("loss_scale", [False, True])
def test_micro_batches_are_the_large_batch(rows, k, loss_scale):
    losses, weights, _ = trained(rows=rows)
    split_losses, split_weights, _ = trained(rows=rows, accumulate=k, loss_scale=loss_scale)
    np.testing.assert_allclose(split_losses, losses, atol=1e-6)
    for a, b in zip(split_weights, weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def peak(step):
    return step.memory_plan(X, Y)["peak_bytes"]


def test_micro_batches_share_memory():
    whole = trained(steps=1)[2].memory_plan(X, Y)["activation_bytes"]
    parts = trained(steps=1, accumulate=8)[2].memory_plan(X, Y)["activation_bytes"]
    assert parts < 0.4 * whole


def test_a_batch_four_times_too_large_for_the_budget_is_split_into_the_fewest_parts():
    losses, _, step = trained(depth=8)
    whole = step.memory_plan(X, Y)
    budget = whole["peak_bytes"] - 3 * whole["activation_bytes"] // 4
    split_losses, _, split = trained(depth=8, memory_budget=budget)
    np.testing.assert_allclose(split_losses, losses, atol=1e-5)
    assert peak(split) <= budget
    line = next(s for s in split.explain(runs=1).splitlines() if "memory budget" in s)
    k = int(line.split(" used, ")[1].split()[0])
    assert k > 1
    assert peak(trained(steps=1, depth=8, accumulate=k - 1)[2]) > budget


def test_a_budget_that_holds_changes_nothing():
    _, _, step = trained(steps=1, memory_budget="1GB")
    assert "1 micro-batch(es) of at most 512 rows" in step.explain(runs=1)


def test_nothing_fits_names_the_largest_values():
    with pytest.raises(ost.OutOfMemoryError, match="Largest values"):
        trained(steps=1, memory_budget="1KB")


@pytest.mark.parametrize(
    "options", [{"memory_budget": "a lot"}, {"memory_budget": -1}, {"accumulate": 0}]
)
def test_options_that_are_refused(options):
    with pytest.raises(ValueError, match=r"not accepted; give .*test_accumulate"):
        ost.compile(lambda x: x, **options)


def test_values_are_computed_again_where_a_batch_cannot_be_split():
    w = ost.Variable(RNG.standard_normal((32, 32)).astype(np.float32) / 6, name="w")

    def step(x):
        h = x
        for _ in range(12):
            h = ost.sin(h @ w)
        loss = ost.mean(ost.square(h))
        return loss, ost.gradients(loss, [w])[0]

    plain = ost.compile(step)
    want = plain(X)
    stats = plain.memory_plan(X)
    budget = stats["peak_bytes"] - stats["activation_bytes"] // 3
    small = ost.compile(step, memory_budget=budget)
    got = small(X)
    assert small.memory_plan(X)["peak_bytes"] <= budget
    assert small.memory_plan(X)["recomputed_nodes"] > 0
    assert "computed again" in small.explain(runs=1)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-7)


def test_a_trainer_trains_the_same_within_a_quarter_of_the_memory():
    ends = []
    for options in ({}, {"accumulate": 4}):
        ost.random.seed(0)
        model = nn.Sequential([nn.Dense(64, activation="relu"), nn.Dropout(0.5), nn.Dense(4)])
        data = ost.data.Dataset.from_tensor_slices((X[:64], Y[:64])).repeat(4).batch(48)
        loss = ost.losses.SparseCategoricalCrossentropy(from_logits=True)
        t = ost.train.Trainer(
            model,
            loss,
            optim.SGD(0.1),
            [ost.metrics.SparseCategoricalAccuracy()],
            seed=0,
            **options,
        )
        t.train(lambda data=data: data)
        ends.append([v.numpy() for v in model.variables])
    for a, b in zip(*ends, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def two_steps(loss_of, variables, **options):
    """Losses of two steps on eight rows, and what the generator's state is afterwards."""
    ost.random.seed(0)
    optimizer = optim.SGD(0.1)
    step = ost.compile(lambda x: optimizer.minimize_batch(loss_of, variables, (x,)), **options)
    losses = [step(X[:8]).item() for _ in range(2)]
    return losses, ost.random.default_generator().variable.numpy().tolist()


def attending():
    w = ost.Variable(np.ones(4, np.float32), name="w")

    def loss_of(x):
        x = ost.reshape(x, (x.shape[0], 4, 2, 4))
        return ost.mean(ost.square(ost.attention(x * w, x, x, dropout=0.5)))

    return loss_of, [w]


def looping():
    w = ost.Variable(np.ones(32, np.float32), name="w")

    def step(c, _):
        return ost.checkpoint(lambda c: ost.random.dropout(c * w, 0.5))(c), None

    return lambda x: ost.mean(ost.square(ost.scan(step, x, length=3)[0])), [w]


def noisy():
    """Draws of one row for each, of three rows for each, and of none: the same noise for all."""
    w = ost.Variable(np.ones((32, 2), np.float32), name="w")

    def loss_of(x):
        x = ost.reshape(x + ost.random.normal(32) + ost.random.normal((32,)), (-1, 4))
        x = ost.reshape(ost.random.dropout(x, 0.5), (-1, 32))
        return ost.mean(ost.square(x @ ost.random.dropout(w, 0.3) + ost.random.uniform(())))

    return loss_of, [w]


def penalised():
    layer = nn.Dense(3, activity_regularizer=lambda y: ost.mean(ost.square(y)))

    def loss_of(x):
        return ost.mean(layer(x)) + sum(layer.losses)

    return loss_of, lambda: layer.trainable_variables


@pytest.mark.parametrize("make", [attending, looping, noisy, penalised])
@pytest.mark.parametrize("k", [2, 3, 8])
def test_draws_and_penalties_of_micro_batches_are_those_of_the_large_batch(make, k):
    losses, state = two_steps(*make())
    split_losses, split_state = two_steps(*make(), accumulate=k)
    np.testing.assert_allclose(split_losses, losses, rtol=1e-5)
    assert split_state == state


def test_draws_whose_rows_are_not_the_first_axis_are_refused():
    w = ost.Variable(np.ones(32, np.float32), name="w")

    def loss_of(x):
        return ost.mean(ost.square(ost.random.dropout(ost.transpose(x * w), 0.5)))

    two_steps(loss_of, [w])
    with pytest.raises(ValueError, match=r"shape \[32, 8\] for 8 rows are \[32, 4\].*\[test_acc"):
        two_steps(loss_of, [w], accumulate=2)


def test_a_loss_that_is_looked_at_first_changes_nothing():
    block = nn.Sequential([nn.Dense(4), nn.BatchNormalization()])
    seen = ost.Variable(np.int64(0), name="seen")

    def loss_of(x):
        seen.assign_add(x.shape[0])
        return ost.mean(ost.square(block(x, training=True)))

    two_steps(loss_of, lambda: block.trainable_variables, accumulate=4)
    assert seen.numpy() == 2 * 8


def test_nothing_to_split_is_an_error():
    w = ost.Variable(np.ones(32, np.float32), name="w")
    step = ost.compile(
        lambda x: optim.SGD(0.1).minimize(ost.mean(x * w), [w]), name="step", accumulate=4
    )
    with pytest.raises(ValueError, match=r"accumulate=4 .* step splits no batch; .*\[test_acc"):
        step(X)
    np.testing.assert_array_equal(w.numpy(), 1.0)


def test_the_report_counts_the_micro_batches_that_there_are():
    *_, step = trained(steps=1, rows=10, accumulate=6, memory_budget="64MB")
    assert " 5 micro-batch(es) of at most 2 rows" in step.explain(runs=1)


@pytest.mark.parametrize("k", [1, 2])
def test_a_batch_is_a_sequence_and_its_loss_a_scalar(k):
    w = ost.Variable(np.ones(32, np.float32), name="w")

    def stepping(loss_of, batch_of):
        return ost.compile(
            lambda x: optim.SGD(0.1).minimize_batch(loss_of, [w], batch_of(x)), accumulate=k
        )

    with pytest.raises(TypeError, match=r"batch is a Tensor; give a tuple .*\[test_accumulate"):
        stepping(lambda x: ost.mean(x * w), lambda x: x)(X)
    with pytest.raises(ValueError, match=r"the loss is float32\[\d+, 32\], but must be a scalar"):
        stepping(lambda x: x * w, lambda x: (x,))(X)


@pytest.mark.parametrize("budget", ["0.2", "0KB", "8k", 0, -1, True, 1e9])
def test_a_budget_is_at_least_a_byte(budget):
    with pytest.raises(ValueError, match="give a number of bytes, or text such as '512MB'"):
        ost.compile(lambda x: x, memory_budget=budget)
