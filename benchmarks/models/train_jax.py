# SPDX-License-Identifier: Apache-2.0
"""Training steps in JAX: one jitted step with donated buffers, or many inside one lax.scan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.models import data


class TrainJob:
    """Runs `forward(parameters, x)` with softmax cross-entropy and Adam."""

    check_steps = data.POOL

    def __init__(
        self,
        forward: Callable[[Any, Any], Any],
        parameters: data.Layers,
        x: np.ndarray,
        y: np.ndarray,
        mode: str,
    ):
        if mode not in ("jit", "scan"):
            raise ValueError(f"jax: mode '{mode}' is not known")
        weights = jax.tree.map(jnp.array, parameters)
        zeros = jax.tree.map(jnp.zeros_like, weights)
        self._state = (
            weights,
            zeros,
            jax.tree.map(jnp.zeros_like, weights),
            jnp.zeros((), jnp.float32),
        )
        self._at = 0
        step = _make_step(forward)
        self._scan = mode == "scan"
        if self._scan:
            self.stride = len(x)
            self._xs, self._ys = jnp.array(x), jnp.array(y)

            def many(state: Any, xs: Any, ys: Any) -> Any:
                return jax.lax.scan(lambda s, xy: step(s, *xy), state, (xs, ys))

            self._step = jax.jit(many, donate_argnums=0)
        else:
            self.stride = 1
            self._batches = [(jnp.array(a), jnp.array(b)) for a, b in zip(x, y, strict=True)]
            self._step = jax.jit(step, donate_argnums=0)

    def advance(self, steps: int) -> float:
        step, state = self._step, self._state
        loss: Any = None
        if self._scan:
            for _ in range(steps // self.stride):
                state, loss = step(state, self._xs, self._ys)
            last = loss[-1]
        else:
            batches = self._batches
            for i in range(self._at, self._at + steps):
                state, loss = step(state, *self._batches[i % len(batches)])
            last = loss
        self._at += steps
        self._state = jax.block_until_ready(state)
        return float(last)


def _make_step(forward: Callable[[Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
    def loss_of(weights: Any, x: Any, y: Any) -> Any:
        log_p = jax.nn.log_softmax(forward(weights, x))
        return -jnp.mean(jnp.take_along_axis(log_p, y[:, None], axis=1))

    def step(state: Any, x: Any, y: Any) -> Any:
        weights, m, v, t = state
        loss, grads = jax.value_and_grad(loss_of)(weights, x, y)
        t = t + 1
        m = jax.tree.map(lambda m, g: data.BETA_1 * m + (1 - data.BETA_1) * g, m, grads)
        v = jax.tree.map(lambda v, g: data.BETA_2 * v + (1 - data.BETA_2) * g * g, v, grads)
        scale_1 = -data.LEARNING_RATE / jnp.expm1(t * data.LOG_BETA_1)
        scale_2 = -1 / jnp.expm1(t * data.LOG_BETA_2)
        weights = jax.tree.map(
            lambda w, m, v: w - m * scale_1 / (jnp.sqrt(v * scale_2) + data.EPSILON), weights, m, v
        )
        return (weights, m, v, t), loss

    return step
