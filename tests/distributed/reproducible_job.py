# SPDX-License-Identifier: Apache-2.0
"""Trains a network under a reproducible strategy, and tells what came of it to the last bit.

As a program it is one process of a job: it writes what it ended with to `rank-R.json`.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from typing import Any

import numpy as np

import ostria as ost
from ostria import nn

ROWS, BATCH = 50, 24  # the last batch has 2 rows: less than shards
_RNG = np.random.default_rng(8)
_IMAGES = _RNG.standard_normal((ROWS, 12, 12, 2)).astype(np.float32)
_SERIES = _RNG.standard_normal((ROWS, 6, 5)).astype(np.float32)
_LABELS = _RNG.integers(0, 4, ROWS)


def network(kind: str) -> nn.Module:
    if kind == "lstm":
        return nn.Sequential(
            [nn.LSTM(12, return_sequences=True), nn.Dropout(0.2), nn.LSTM(12), nn.Dense(4)]
        )
    return nn.Sequential(
        [
            nn.Conv2D(8, 3, activation="relu"),
            nn.BatchNormalization(synchronized=kind == "cnn of one norm"),
            nn.MaxPool2D(2),
            nn.Conv2D(12, 3, activation="relu"),
            nn.BatchNormalization(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Dense(4),
        ]
    )


def data(kind: str, epochs: int) -> ost.data.Dataset:
    x = _SERIES if kind == "lstm" else _IMAGES
    pairs = ost.data.Dataset.from_tensor_slices((x, _LABELS)).shuffle(ROWS, seed=4)
    return pairs.batch(BATCH).repeat(epochs)


class Cut(Exception):
    pass


class Watch(ost.train.Hook):
    def __init__(self, cut: int | None) -> None:
        self.losses: list[str] = []
        self._cut = cut

    def after_step(self, trainer: Any, results: Any) -> None:
        self.losses.append(float(results.loss).hex())
        if results.step == self._cut:
            raise Cut


def train(
    strategy: Any,
    kind: str,
    model_dir: str | None = None,
    cut: int | None = None,
    accumulate: int = 1,
) -> dict[str, Any]:
    """Losses, evaluation and every Variable of a run, as text that keeps every bit.

    With `cut` it is interrupted behind that step, and the losses are all that is told.
    """
    watch = Watch(cut)
    ost.random.seed(7)
    with strategy.scope():
        model = network(kind)
        optimizer = ost.optim.Adam(0.01, global_clipnorm=0.5)
    loss = ost.losses.SparseCategoricalCrossentropy(from_logits=True)
    trainer = ost.train.Trainer(
        model,
        loss,
        optimizer,
        [ost.metrics.SparseCategoricalAccuracy(name="accuracy")],
        seed=3,
        strategy=strategy,
        accumulate=accumulate,
        hooks=[watch],
        model_dir=model_dir,
        save_steps=None if model_dir is None else 4,
    )
    try:
        trainer.train(data(kind, 2))
    except Cut:
        return {"losses": watch.losses}
    evaluation = trainer.evaluate(data(kind, 1))
    return {
        "step": trainer.global_step,
        "losses": watch.losses,
        "evaluation": {name: float(value).hex() for name, value in evaluation.items()},
        # Of metrics each process has its part.
        "state": {
            v.name: v.numpy().tobytes().hex() for v in trainer.variables if v.aggregation != "sum"
        },
    }


def measure(strategy: Any) -> dict[str, Any]:
    """The results of a metric behind each of some steps, which go on adding to it."""
    with strategy.scope():
        metric = ost.metrics.MeanSquaredError()
    rows = ost.data.Dataset.from_tensor_slices((_SERIES, 2 * _SERIES)).batch(10)

    def step(x: Any, y: Any) -> None:
        metric.update_state(y, x)

    results = []
    for batch in strategy.experimental_distribute_dataset(rows):
        strategy.run(step, batch)
        results.append(float(metric.result().item()).hex())
    return {"results": results}


def estimate(strategy: Any, model_dir: str) -> dict[str, Any]:
    """Variables and evaluation of an Estimator."""

    def model_fn(features: Any, labels: Any, mode: str) -> Any:
        training = mode == ost.estimator.ModeKeys.TRAIN
        logits = nn.Dense(4)(nn.Dropout(0.3)(nn.LSTM(8)(features), training=training))
        return ost.estimator.EstimatorSpec(
            mode,
            loss=ost.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits),
            train_op=ost.optim.Adam(0.02) if training else None,
        )

    config = ost.estimator.RunConfig(
        tf_random_seed=7, train_distribute=strategy, save_checkpoints_steps=4
    )
    estimator = ost.estimator.Estimator(model_fn, model_dir, config)
    estimator.train(lambda: data("lstm", 2))
    evaluation = estimator.evaluate(lambda: data("lstm", 1))
    return {
        "evaluation": {name: float(value).hex() for name, value in evaluation.items()},
        "state": {
            name: np.asarray(estimator.get_variable_value(name)).tobytes().hex()
            for name in estimator.get_variable_names()
        },
    }


def do(strategy: Any, kind: str, **training: Any) -> dict[str, Any]:
    if kind == "metric":
        return measure(strategy)
    make = estimate if kind == "estimator" else functools.partial(train, kind=kind)
    return make(strategy, **training)


if __name__ == "__main__":
    kinds, training, keywords = (json.loads(argument) for argument in sys.argv[1:])
    with ost.distribute.MultiWorkerMirroredStrategy(reproducible=True, **keywords) as job:
        told = {kind: do(job, kind, **training) for kind in kinds}
        with open(f"rank-{os.environ['OSTRIA_RANK']}.json", "w") as file:
            json.dump(told, file)
