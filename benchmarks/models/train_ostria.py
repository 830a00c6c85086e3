# SPDX-License-Identifier: Apache-2.0
"""Training steps in Ostria: the whole step is one compiled function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import ostria as ost
from benchmarks.models import data, job, rules, target


def read(result: Any) -> float:
    """The value of a scalar, once all of its step is done."""
    if target.current.device != "cpu":
        ost.synchronize(target.current.device)
    return float(result.item())


def there(array: Any) -> Any:
    """An array as a tensor where the target is."""
    return ost.to_device(ost.asarray(array), target.current.device)


def train(
    model: Any,
    loss_of: Callable[..., Any],
    weights: Sequence[np.ndarray],
    arrays: Sequence[np.ndarray],
    mode: str,
    rule: Any,
    check_steps: int = data.POOL,
) -> job.StepJob:
    """Trains `model` with `loss_of(*batch)`."""
    if mode != "compile":
        raise ValueError(f"ostria: mode '{mode}' is not known")
    batches = job.batches_of(arrays, there)
    make_weights(loss_of, batches[0])
    assign(model, weights)
    where = target.current
    step = make_step(model, loss_of, rule, where.device, where.precision)
    return job.StepJob(step, batches, check_steps, read)


def make_weights(loss_of: Callable[..., Any], batch: Sequence[Any]) -> None:
    """Has the model that `loss_of` calls make its weights, computing nothing."""
    ost.compile(loss_of, device="null").trace(*batch)


def assign(model: Any, weights: Sequence[np.ndarray]) -> None:
    """Sets the trainable variables, in order of creation."""
    for variable, value in zip(model.trainable_variables, weights, strict=True):
        variable.assign(ost.asarray(value))


def make_step(
    model: Any,
    loss_of: Callable[..., Any],
    rule: Any = rules.ADAM,
    device: str | None = "cpu",
    precision: str = "float32",
) -> Any:
    """A compiled step that returns the loss and updates the model; float16 with a loss scale.

    On the device None it runs wherever is the default when it is called.
    """
    optimizer = rule.ostria()
    if precision == "mixed_float16":
        optimizer = ost.optim.LossScaleOptimizer(optimizer, target.LOSS_SCALE)

    def step(*batch: Any) -> Any:
        loss = loss_of(*batch)
        optimizer.minimize(loss, model.trainable_variables)
        return loss

    return ost.compile(step, device=device, precision=precision)


def cross_entropy(logits: Any, y: Any) -> Any:
    """The mean softmax cross-entropy of integer labels."""
    return ost.mean(ost.losses.sparse_categorical_crossentropy(y, logits, from_logits=True))


def classify(
    model: Any, weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray, mode: str
) -> job.StepJob:
    """Trains `model` with softmax cross-entropy and Adam."""
    return train(model, classifier(model), weights, (x, y), mode, rules.ADAM)


def classifier(model: Any) -> Callable[..., Any]:
    """The loss of a model as a function of a batch."""
    return lambda x, y: cross_entropy(model(x, training=True), y)
