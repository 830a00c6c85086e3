# SPDX-License-Identifier: Apache-2.0
"""Replicas that share a batch train as one device does with all of it, and stay equal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from replicas import mirrored, split

import ostria as ost
from ostria import nn
from ostria.train._task import ModelTask

PerReplica = ost.distribute.PerReplica
RNG = np.random.default_rng(3)
X = RNG.normal(size=(12, 6)).astype(np.float32)
Y = RNG.integers(0, 4, 12)
W = RNG.uniform(0.5, 2.0, 12).astype(np.float32)
SIZES = ([6, 6], [7, 5], [9, 3, 0], [3, 3, 3, 3])


def train(
    sizes: Sequence[int],
    make: Callable[[], tuple[nn.Module, Callable[..., Any]]],
    steps: int = 4,
    rows: int = 12,
) -> tuple[list[np.ndarray], list[float], Any]:
    """(weights, reported losses, strategy's function) of `steps` steps; replicas are compared."""
    strategy = mirrored(len(sizes))
    with strategy.scope():
        model, step = make()
    losses = []
    for i in range(steps):
        order = np.random.default_rng(i).permutation(12)[:rows]
        batch = tuple(split(v[order], sizes) for v in (X, Y, W))
        local = strategy.experimental_local_results(strategy.run(step, batch))
        assert len({v.numpy().tobytes() for v in local}) == 1, "replicas report other losses"
        losses.append(local[0].item())
    for v in model.variables:
        copies = {v.copy_of(r).tobytes() for r in range(len(sizes))}
        assert len(copies) == 1, f"{v.name} differs between replicas"
    return [v.numpy() for v in model.variables], losses, strategy.compile(step)


def classifier(
    loss: Any = None,
    optimizer: Callable[[], Any] = lambda: ost.optim.SGD(0.1, momentum=0.9),
    weighted: bool = False,
    **dense: Any,
) -> Callable[[], tuple[nn.Module, Callable[..., Any]]]:
    def make() -> tuple[nn.Module, Callable[..., Any]]:
        model = nn.Sequential([nn.Dense(8, activation="tanh", **dense), nn.Dense(4)])
        model(X[:1])
        chosen = loss or ost.losses.SparseCategoricalCrossentropy(from_logits=True)
        task = ModelTask(model, chosen, optimizer())

        def step(x: Any, y: Any, w: Any) -> Any:
            return task.train((x, y, w) if weighted else (x, y))

        return model, step

    return make


def compare(
    make: Callable[[], Any], sizes: Sequence[int], tolerance: float = 2e-6, rows: int = 12
) -> None:
    one, one_losses, _ = train([rows], make, rows=rows)
    many, losses, _ = train(sizes, make, rows=rows)
    np.testing.assert_allclose(losses, one_losses, rtol=10 * tolerance, atol=tolerance)
    for a, b in zip(many, one, strict=True):
        np.testing.assert_allclose(a, b, rtol=10 * tolerance, atol=tolerance)
    first = make()[0]
    assert any((a != v.numpy()).any() for a, v in zip(many, first.variables, strict=True))


@pytest.mark.parametrize("sizes", SIZES)
def test_momentum_and_uneven_shares(sizes: list[int]) -> None:
    compare(classifier(), sizes)


@pytest.mark.parametrize(
    "options",
    [{"global_clipnorm": 0.05}, {"clipnorm": 0.02}, {"clipvalue": 0.01}, {"weight_decay": 0.1}],
    ids=str,
)
def test_clipping_and_decay_see_the_whole_gradient(options: dict[str, float]) -> None:
    compare(classifier(optimizer=lambda: ost.optim.SGD(0.5, **options)), [7, 5])


def test_adam_with_averages() -> None:
    compare(classifier(optimizer=lambda: ost.optim.Adam(0.01, use_ema=True)), [9, 3, 0], 1e-5)


def test_penalties_count_once() -> None:
    compare(classifier(kernel_regularizer=nn.regularizers.L2(0.1)), [7, 5])


@pytest.mark.parametrize(
    "reduction", ["sum_over_batch_size", "sum", "mean", "mean_with_sample_weight"]
)
def test_sample_weights_and_reductions(reduction: str) -> None:
    loss = ost.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction)
    compare(classifier(loss, lambda: ost.optim.SGD(0.02), weighted=True), [7, 5, 0])


def test_labels_that_do_not_count_are_counted_over_all_replicas() -> None:
    loss = ost.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=2)
    compare(classifier(loss), [7, 5])


def test_losses_with_more_axes_than_rows() -> None:
    def loss(y: Any, p: Any) -> Any:
        return ost.losses.MeanSquaredError()(ost.one_hot(y, 4), ost.tanh(p))

    compare(classifier(loss), [7, 5])


@pytest.mark.parametrize(
    "loss",
    [
        lambda y, p: ost.mean(ost.losses.sparse_categorical_crossentropy(y, p, from_logits=True)),
        lambda y, p: ost.losses.sparse_categorical_crossentropy(y, p, from_logits=True),
        lambda y, p: nn.compute_average_loss(
            ost.losses.sparse_categorical_crossentropy(y, p, from_logits=True)
        ),
        lambda y, p: nn.compute_average_loss(
            ost.losses.sparse_categorical_crossentropy(y, p, from_logits=True),
            global_batch_size=12,
        ),
    ],
    ids=["mean", "per example", "average", "average of 12"],
)
def test_functions_as_losses(loss: Any) -> None:
    compare(classifier(loss), [9, 3])


@pytest.mark.parametrize("sizes", SIZES)
def test_draws_are_those_of_one_device(sizes: list[int]) -> None:
    def make() -> tuple[nn.Module, Callable[..., Any]]:
        model = nn.Sequential([nn.Dense(8), nn.Dropout(0.5, seed=1), nn.Dense(4)])
        model(X[:1])
        # Labels are looked at where there are some: plans of ranks differ in where they may stop.
        loss = ost.losses.SparseCategoricalCrossentropy(from_logits=True)
        task = ModelTask(model, loss, ost.optim.SGD(0.1))
        return model, lambda x, y, w: task.train((x, y))

    compare(make, sizes)


@pytest.mark.parametrize("sizes", SIZES)
def test_an_evaluation_reports_the_loss_of_all_rows(sizes: list[int]) -> None:
    strategy = mirrored(len(sizes))
    with strategy.scope():
        model = nn.Dense(4)
        model(X[:1])
        accuracy = ost.metrics.SparseCategoricalAccuracy()
        loss = ost.losses.SparseCategoricalCrossentropy(from_logits=True)
        task = ModelTask(model, loss, metrics=[accuracy])
    # A plan without rows looks at no labels, so it could write before the others do.
    fn = strategy.compile(lambda x, y: task.evaluate((x, y)))
    found = strategy.experimental_local_results(fn(split(X, sizes), split(Y, sizes)))
    expected = loss(ost.asarray(Y), model(X)).item()
    assert [v.item() for v in found] == [pytest.approx(expected, rel=1e-6)] * len(sizes)
    assert accuracy.result().item() == pytest.approx(np.mean(model(X).numpy().argmax(1) == Y))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("clip", [None, 0.05])
def test_mixed_precision_and_loss_scaling(policy: str, clip: float | None) -> None:
    def optimizer() -> Any:
        inner = ost.optim.SGD(0.1, momentum=0.9, global_clipnorm=clip)
        return ost.optim.LossScaleOptimizer(inner, initial_scale=2.0**10, dynamic_growth_steps=2)

    before = ost.mixed_precision.global_policy()
    ost.mixed_precision.set_policy(policy)
    try:
        one, _, _ = train([12], classifier(optimizer=optimizer), steps=6)
        many, _, _ = train([7, 5, 0], classifier(optimizer=optimizer), steps=6)
    finally:
        ost.mixed_precision.set_policy(before)
    # Sums are rounded to 16 bits at other places.
    for a, b in zip(many, one, strict=True):
        np.testing.assert_allclose(a, b, rtol=0.05, atol=0.02)


def test_no_replica_has_rows() -> None:
    _, losses, _ = train([0, 0], classifier(), steps=1, rows=0)
    assert losses == [0.0]


def test_a_loop_of_ones_own_minimises_shares() -> None:
    def make() -> tuple[nn.Module, Callable[..., Any]]:
        model = nn.Dense(1)
        model(X[:1])
        optimizer = ost.optim.SGD(0.1, momentum=0.5, nesterov=True)

        def step(x: Any, y: Any, w: Any) -> Any:
            error = ost.square(model(x)[:, 0] - ost.cast(y, "float32"))
            loss = nn.compute_average_loss(error, sample_weight=w)
            loss = loss + nn.scale_regularization_loss(ost.square(model.kernel.value()))
            optimizer.minimize(loss, model.trainable_variables)
            return ost.all_reduce([loss])

        return model, step

    compare(make, [7, 5])


def normalised(synchronized: bool) -> Callable[[], tuple[nn.Module, Callable[..., Any]]]:
    def make() -> tuple[nn.Module, Callable[..., Any]]:
        kind = nn.SyncBatchNormalization if synchronized else nn.BatchNormalization
        norm = kind(momentum=0.5)
        model = nn.Sequential([nn.Dense(8), norm, nn.ReLU(), nn.Dense(4)])
        model(X[:1])
        loss = ost.losses.SparseCategoricalCrossentropy(from_logits=True)
        task = ModelTask(model, loss, ost.optim.SGD(0.1))
        return model, lambda x, y, w: task.train((x, y))

    return make


@pytest.mark.parametrize("sizes", SIZES)
def test_synchronised_normalisation_is_that_of_the_whole_batch(sizes: list[int]) -> None:
    compare(normalised(True), sizes, 1e-5)


def test_moving_statistics_are_the_mean_of_those_of_replicas_with_rows() -> None:
    def make() -> tuple[nn.Module, Callable[..., Any]]:
        norm = nn.BatchNormalization(momentum=0.5)
        norm(X[:1])

        def step(x: Any, y: Any, w: Any) -> Any:
            norm(x, training=True)
            return ost.asarray(0.0)

        return norm, step

    weights, _, _ = train([7, 5, 0], make, steps=1)
    x = X[np.random.default_rng(0).permutation(12)]
    mean = (x[:7].mean(0) + x[7:].mean(0)) / 2
    variance = (x[:7].var(0) + x[7:].var(0)) / 2
    found = dict(zip([v.name.split("/")[-1] for v in make()[0].variables], weights, strict=True))
    np.testing.assert_allclose(found["moving_mean"], 0.5 * mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["moving_variance"], 0.5 + 0.5 * variance, rtol=1e-5)


def test_statistics_of_ones_own_rows_keep_replicas_equal() -> None:
    train([7, 5, 0], normalised(False))  # compares the copies


@pytest.mark.parametrize("bad", [0, 1])
def test_all_replicas_refuse_a_step_that_one_of_them_cannot_take(bad: int) -> None:
    strategy = mirrored(2)
    with strategy.scope():
        model = nn.Dense(1)
        model(X[:1])
        optimizer = ost.optim.Adam(0.1)

    def step(x: Any) -> Any:
        return optimizer.minimize(
            nn.compute_average_loss(model(x)[:, 0]), model.trainable_variables
        )

    x = X.copy()
    x[7 * bad, 0] = np.inf
    before = [v.numpy() for v in model.variables]
    assert [v.item() for v in strategy.run(step, (split(x, [6, 6]),)).values] == [False, False]
    for v, was in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(v.numpy(), was)
    assert (optimizer.iterations.numpy(), optimizer.skipped.numpy()) == (0, 1)
    assert [v.item() for v in strategy.run(step, (split(X, [6, 6]),)).values] == [True, True]


def test_a_loss_that_is_not_finite_on_one_replica_refuses_the_step_on_all() -> None:
    strategy = mirrored(2)
    with strategy.scope():
        model = nn.Dense(1)
        model(X[:1, 1:])
        optimizer = ost.optim.SGD(0.1)

    def step(x: Any) -> Any:
        loss = nn.compute_average_loss(model(x[:, 1:])[:, 0])
        loss = loss + ost.stop_gradient(ost.sum(x[:, 0]) * 0.0)  # its gradient is finite
        return optimizer.minimize(loss, model.trainable_variables)

    x = X.copy()
    x[7, 0] = np.inf
    assert [v.item() for v in strategy.run(step, (split(x, [6, 6]),)).values] == [False, False]


def test_a_table_is_updated_whole_and_says_why() -> None:
    def make() -> tuple[nn.Module, Callable[..., Any]]:
        model = nn.Embedding(50, 3)
        model(Y[:1])
        optimizer = ost.optim.Adagrad(0.5)

        def step(x: Any, y: Any, w: Any) -> Any:
            loss = nn.compute_average_loss(ost.sum(ost.square(model(y) - 1.0), axis=1), w)
            optimizer.minimize(loss, model.trainable_variables)
            return ost.all_reduce([loss])

        return model, step

    compare(make, [7, 5])
    _, _, compiled = train([7, 5], make, steps=1)
    assert "its gradient comes from all_reduce" in compiled.explain()


def test_gradients_are_one_call_of_one_range_and_nothing_is_copied() -> None:
    _, _, compiled = train([6, 6], classifier(), steps=1)
    steps = [line for line in compiled.explain().splitlines() if " all_reduce" in line]
    plan = [line for line in steps if "float32[6, 8]" in line and "act+" in line]
    assert len(plan) == 1 and "<communicator, 1 call>" in plan[0]
    before, after = plan[0].split("[test_replica_training.py")[0].split(" -> ")
    places = [part.split()[0] for part in before.split("call> ")[1].split(", act")]
    assert len(places) == 4
    assert before.split("call> ")[1].strip() == after.strip()


def test_ranks_can_compare_what_they_will_compute() -> None:
    def traced(make: Callable[[], Any]) -> Any:
        _, step = make()
        batch = tuple(split(v, [7, 5]) for v in (X, Y, W))
        return mirrored(2).compile(step).trace(*batch).fingerprint()

    (hash_, lines), other = traced(classifier()), traced(classifier())
    assert len(hash_) == 32 and (hash_, lines) == other
    assert sum(" = all_reduce@1(" in line for line in lines) == 3  # rows, loss, gradients
    assert traced(normalised(True))[0] != hash_


def test_a_collective_in_a_branch_is_refused() -> None:
    def step(x: Any) -> Any:
        flag = ost.sum(x) > 0.0
        return ost.cond(flag, lambda x: ost.all_reduce([x]), lambda x: x, x)

    with pytest.raises(ValueError, match=r"the branch for true holds all_reduce.*equally often"):
        mirrored(2).run(step, (split(X, [6, 6]),))


# --- One replica ----------------------------------------------------------------------------------


def test_shares_outside_of_replicas_are_means() -> None:
    losses = ost.asarray([1.0, 2.0, 6.0])
    assert nn.compute_average_loss(losses).item() == 3.0
    assert nn.compute_average_loss(losses, sample_weight=[1.0, 0.0, 0.5]).item() == pytest.approx(
        4.0 / 3
    )
    assert nn.compute_average_loss(losses, global_batch_size=18).item() == 0.5
    assert nn.compute_average_loss(losses, global_batch_size=ost.asarray(9)).item() == 1.0
    assert nn.compute_average_loss(losses[:0]).item() == 0.0
    assert nn.scale_regularization_loss(losses).item() == 9.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.compute_average_loss(ost.asarray(1.0)), "per_example_loss is a scalar"),
        (
            lambda: nn.compute_average_loss(ost.ones(3), global_batch_size=0),
            "global_batch_size 0 is not accepted; give a positive integer",
        ),
        (
            lambda: nn.compute_average_loss(ost.ones(3), global_batch_size=2.5),
            "global_batch_size 2.5 is not accepted; give a positive int",
        ),
        (
            lambda: nn.compute_average_loss(ost.ones(3), sample_weight=[1.0, 2.0]),
            "compute_average_loss: sample_weight has shape",
        ),
    ],
)
def test_mistakes(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_one_replica_traces_no_collective() -> None:
    compiled = ost.compile(normalised(True)()[1])
    compiled(X, Y, W)
    assert "all_" not in compiled.explain().replace("all_finite", "")
