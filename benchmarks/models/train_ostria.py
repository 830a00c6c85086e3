# SPDX-License-Identifier: Apache-2.0
"""Training steps in Ostria: the whole step is one compiled function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import ostria as ost
from benchmarks.models import data, job, rules


def read(result: Any) -> float:
    """The value of a scalar."""
    return float(result.item())


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
    batches = job.batches_of(arrays, ost.asarray)
    loss_of(*batches[0])  # makes the weights
    assign(model, weights)
    return job.StepJob(make_step(model, loss_of, rule), batches, check_steps, read)


def assign(model: Any, weights: Sequence[np.ndarray]) -> None:
    """Sets the trainable variables, in order of creation."""
    for variable, value in zip(model.trainable_variables, weights, strict=True):
        variable.assign(ost.asarray(value))


def make_step(
    model: Any, loss_of: Callable[..., Any], rule: Any = rules.ADAM, device: str = "cpu"
) -> Any:
    """A compiled step that returns the loss and updates the model."""
    optimizer = rule.ostria()

    def step(*batch: Any) -> Any:
        loss = loss_of(*batch)
        optimizer.minimize(loss, model.trainable_variables)
        return loss

    return ost.compile(step, device=device)


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
