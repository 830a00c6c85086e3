# SPDX-License-Identifier: Apache-2.0
"""Micro-batches of replicas: what one device does with the whole batch, in less memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from replicas import mirrored

import ostria as ost
from ostria import nn, optim

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 6)).astype(np.float32)
Y = RNG.integers(0, 4, 24)
CE = ost.losses.SparseCategoricalCrossentropy(from_logits=True)


def shares(x: np.ndarray, sizes: Sequence[int]) -> Any:
    parts = np.split(x, np.cumsum(sizes)[:-1])
    return ost.distribute.PerReplica(parts) if len(parts) > 1 else x


def trained(
    sizes: Sequence[int],
    k: int,
    loss_of: Callable[[Any, Any, Any], Any] = lambda m, x, y: CE(y, m(x, training=True)),
    width: int = 8,
    steps: int = 3,
    penalty: Any = None,
    **options: Any,
) -> tuple[list[np.ndarray], list[float], Any, Any]:
    """(weights, losses, strategy's function, its last arguments)."""
    strategy = mirrored(len(sizes), **options)
    with strategy.scope():
        ost.random.seed(1)
        dense = nn.Dense(width, activation="tanh", kernel_regularizer=penalty)
        model = nn.Sequential([dense, nn.Dropout(0.3), nn.Dense(4)])
        model(X[:1])
        optimizer = optim.SGD(0.5, momentum=0.9)

    def share(x: Any, y: Any) -> Any:
        loss = loss_of(model, x, y)
        return sum((p / float(len(sizes)) for p in model.losses), start=loss)

    def step(x: Any, y: Any) -> Any:
        return optimizer.minimize_batch(share, model.trainable_variables, (x, y))

    function = strategy.compile(step, accumulate=k)
    losses = []
    for i in range(steps):
        rows = np.random.default_rng(i).permutation(24)[: sum(sizes)]
        args = (shares(X[rows], sizes), shares(Y[rows], sizes))
        parts = strategy.experimental_local_results(function(*args))
        losses.append(sum(part.item() for part in parts))
    for v in model.variables:
        assert len({v.copy_of(r).tobytes() for r in range(len(sizes))}) == 1, v.name
    return [v.numpy() for v in model.trainable_variables], losses, function, args


def compare(sizes: Sequence[int], k: int, **options: Any) -> None:
    want, want_losses, *_ = trained([sum(sizes)], 1, **options)
    got, losses, *_ = trained(sizes, k, **options)
    np.testing.assert_allclose(losses, want_losses, rtol=1e-5)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("sizes", "k"),
    [
        ([24], 5),
        ([12, 12], 3),
        ([13, 11], 4),
        ([20, 4, 0], 4),
        ([1, 22, 1], 2),
        ([23, 1], 8),
        ([6, 1], 4),
        ([5, 0, 2], 5),
        ([1, 0], 3),
    ],
    ids=str,
)
def test_micro_batches_of_replicas_are_the_large_batch(sizes: list[int], k: int) -> None:
    compare(sizes, k)


@pytest.mark.parametrize("sizes", [[13, 11], [20, 4, 0]], ids=str)
def test_penalties_count_once(sizes: list[int]) -> None:
    compare(sizes, 3, penalty=nn.regularizers.L2(0.1))


def test_a_mean_of_ones_own() -> None:
    def loss_of(m: Any, x: Any, y: Any) -> Any:
        losses = ost.losses.sparse_categorical_crossentropy(y, m(x, training=True), True)
        return nn.compute_average_loss(losses)

    compare([13, 11], 3, loss_of=loss_of)


def test_gradients_are_added_over_replicas_once() -> None:
    def collectives(k: int) -> int:
        _, _, function, args = trained([12, 12], k, steps=1)
        return str(function.trace(*args).text()).count("all_reduce@")

    assert collectives(4) == collectives(1)


def test_micro_batches_share_memory() -> None:
    def planned(k: int) -> int:
        _, _, function, _ = trained([12, 12], k, steps=1, width=64)
        rows = [np.zeros((512, 6), np.float32)] * 2, [np.zeros(512, np.int64)] * 2
        args = [ost.distribute.PerReplica(values) for values in rows]
        return int(function.memory_plan(*args)["activation_bytes"])

    assert planned(8) < 0.4 * planned(1)


def test_with_optimizer_state_in_parts() -> None:
    whole, losses, *_ = trained([13, 11], 3)
    parts, same_losses, *_ = trained([13, 11], 3, shard_optimizer_state=True)
    assert losses == same_losses
    for a, b in zip(parts, whole, strict=True):
        assert a.tobytes() == b.tobytes()


def test_a_function_has_a_compiled_one_for_each_number() -> None:
    strategy = mirrored(2)
    w = ost.Variable(np.ones(6, np.float32), name="w")
    optimizer = optim.SGD(0.1)

    def step(x: Any) -> Any:
        loss = lambda x: nn.compute_average_loss(ost.sum(x * w, axis=1))  # noqa: E731
        return optimizer.minimize_batch(loss, [w], (x,))

    assert strategy.compile(step, accumulate=2) is strategy.compile(step, accumulate=2)
    assert strategy.compile(step) is not strategy.compile(step, accumulate=2)
    with pytest.raises(ValueError, match=r"accumulate 0 .*\[test_replica_acc"):
        strategy.compile(step, accumulate=0)
    with pytest.raises(ValueError, match=r"accumulate=2 splits .*splits no batch"):
        strategy.compile(lambda x: ost.sum(x), accumulate=2)(shares(X, [12, 12]))


def test_draws_whose_rows_are_not_first_are_refused() -> None:
    def loss_of(m: Any, x: Any, y: Any) -> Any:
        noise = ost.random.normal((6, x.shape[0]))
        return nn.compute_average_loss(ost.sum(x * ost.transpose(noise), axis=1))

    with pytest.raises(ValueError, match=r"are not split along the first axis"):
        trained([12, 12], 2, loss_of=loss_of)


def test_a_trainer_splits_the_rows_of_each_replica() -> None:
    def end(strategy: Any, **options: Any) -> tuple[Any, list[float]]:
        with strategy.scope() if strategy else ost.device("cpu"):
            model = nn.Sequential([nn.Dense(8, activation="relu"), nn.Dropout(0.3), nn.Dense(4)])
        t = ost.train.Trainer(
            model,
            CE,
            optim.SGD(0.1),
            [ost.metrics.SparseCategoricalAccuracy(name="accuracy")],
            seed=1,
            strategy=strategy,
            **options,
        )
        data = ost.data.Dataset.from_tensor_slices((X, Y)).repeat(3).batch(10)
        t.train(data)  # ends with a batch of 2 rows
        metric = t.task.train_metrics["accuracy"]
        counted = [float(v.numpy()) for v in metric.variables]
        return [v.numpy() for v in model.variables], counted

    want, counted = end(None)
    for options in ({}, {"accumulate": 4}):
        got, same = end(mirrored(2), **options)
        assert same == pytest.approx(counted)
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"memory_budget '1GB' .*; give accumulate="):
        end(mirrored(2), memory_budget="1GB")
