# SPDX-License-Identifier: Apache-2.0
"""Training steps in Ostria: the whole step is one compiled function."""

from __future__ import annotations

from typing import Any

import numpy as np

import ostria as ost
from benchmarks.models import data


class TrainJob:
    """Trains an `ost.nn` model with softmax cross-entropy and Adam."""

    stride = 1
    check_steps = data.POOL

    def __init__(
        self, model: Any, weights: list[np.ndarray], x: np.ndarray, y: np.ndarray, mode: str
    ):
        if mode != "compile":
            raise ValueError(f"ostria: mode '{mode}' is not known")
        self._batches = [(ost.asarray(a), ost.asarray(b)) for a, b in zip(x, y, strict=True)]
        model(self._batches[0][0])  # makes the weights
        for variable, value in zip(model.trainable_variables, weights, strict=True):
            variable.assign(ost.asarray(value))
        self.step = make_step(model)
        self._at = 0

    def advance(self, steps: int) -> float:
        step, batches = self.step, self._batches
        loss: Any = None
        for i in range(self._at, self._at + steps):
            loss = step(*batches[i % len(batches)])
        self._at += steps
        return float(loss.item())

    def example(self) -> tuple[Any, Any]:
        """One batch, for `step.explain` and `step.memory_plan`."""
        return self._batches[0]


def make_step(model: Any, device: str = "cpu") -> Any:
    """A compiled `step(x, y)` that returns the loss and updates the model."""
    adam = ost.optim.Adam(data.LEARNING_RATE, data.BETA_1, data.BETA_2, epsilon=data.EPSILON)

    def step(x: Any, y: Any) -> Any:
        variables = model.trainable_variables
        logits = model(x, training=True)
        loss = ost.mean(ost.losses.sparse_categorical_crossentropy(y, logits, from_logits=True))
        adam.apply(ost.gradients(loss, variables), variables, loss)
        return loss

    return ost.compile(step, device=device)
