# SPDX-License-Identifier: Apache-2.0
"""Steps in JAX: one jitted step with donated buffers, or many inside one lax.scan.

In 16 bits JAX computes in bfloat16, whatever the others do: it needs no loss scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.models import data, job, rules, target

Step = Callable[..., tuple[Any, Any]]


class StepJob:
    """Runs `step(carry, *batch)`, which gives the next carry and the loss."""

    def __init__(
        self,
        step: Step,
        carry: Any,
        arrays: Sequence[np.ndarray],
        mode: str,
        check_steps: int = data.POOL,
    ):
        if mode not in ("jit", "scan"):
            raise ValueError(f"jax: mode '{mode}' is not known")
        self.check_steps = check_steps
        self._carry, self._at = carry, 0
        self._scan = mode == "scan"
        if self._scan:
            self.stride = len(arrays[0])
            self._stacked = tuple(jnp.array(a) for a in arrays)

            def many(carry: Any, *stacked: Any) -> Any:
                return jax.lax.scan(lambda c, batch: step(c, *batch), carry, stacked)

            self._step = jax.jit(many, donate_argnums=0)
        else:
            self.stride = 1
            self._batches = job.batches_of(arrays, jnp.array)
            self._step = jax.jit(step, donate_argnums=0)

    def advance(self, steps: int) -> float:
        step, carry = self._step, self._carry
        loss: Any = None
        if self._scan:
            for _ in range(steps // self.stride):
                carry, loss = step(carry, *self._stacked)
            last = loss[-1]
        else:
            batches = self._batches
            for i in range(self._at, self._at + steps):
                carry, loss = step(carry, *batches[i % len(batches)])
            last = loss
        self._at += steps
        self._carry = jax.block_until_ready(carry)
        return float(last)


def update_all(rule: Any, weights: Any, grads: Any, slots: Any, t: Any) -> tuple[Any, Any]:
    """Every weight of a tree after one step of `rule`; slots are a list of tuples."""
    flat, tree = jax.tree.flatten(weights)
    scalars = rule.scalars(jnp, t)
    pairs = [
        rule.update(jnp, w, g, s, scalars)
        for w, g, s in zip(flat, jax.tree.leaves(grads), slots, strict=True)
    ]
    return jax.tree.unflatten(tree, [w for w, _ in pairs]), [s for _, s in pairs]


def first_slots(rule: Any, weights: Any) -> list[tuple[Any, ...]]:
    """The slots of every weight before the first step."""
    return [tuple(jnp.full_like(w, s) for s in rule.slots) for w in jax.tree.leaves(weights)]


def places(seen: Any, ids: Any) -> tuple[Any, Any, Any]:
    """(`seen`, one number per row of a table; for each id one place where it stands; which do so).

    No sort is needed.
    """
    order = jnp.arange(ids.size, dtype=jnp.int32)
    seen = seen.at[ids].set(order)
    place = seen[ids]
    return seen, place, (place == order)[:, None]


def adagrad_rows(
    rule: Any, table: Any, a: Any, first: Any, place: Any, ids: Any, g: Any
) -> tuple[Any, Any]:
    """(table, accumulator) after a step with the gradients `g` of the rows `ids`."""
    g = jnp.zeros_like(g).at[place].add(g)  # the sum of a row's gradients, at its first place
    g = jnp.where(first, g, 0.0)
    a = a.at[ids].add(g * g)
    return table.at[ids].add(-rule.rate * g / jnp.sqrt(a[ids])), a


def train(
    loss_of: Callable[..., Any],
    weights: Any,
    arrays: Sequence[np.ndarray],
    mode: str,
    rule: Any,
    state: Any = (),
    check_steps: int = data.POOL,
) -> StepJob:
    """Trains with `loss_of(weights, state, *batch)`, which gives the loss and the next state."""
    weights, state = jax.tree.map(jnp.array, (weights, state))

    def loss_of_cast(weights: Any, state: Any, *batch: Any) -> Any:
        return loss_of(cast(weights), state, *cast(batch))

    def step(carry: Any, *batch: Any) -> Any:
        weights, state, slots, t = carry
        (loss, state), grads = jax.value_and_grad(loss_of_cast, has_aux=True)(
            weights, state, *batch
        )
        t = t + 1
        weights, slots = update_all(rule, weights, grads, slots, t)
        return (weights, state, slots, t), loss

    carry = (weights, state, first_slots(rule, weights), jnp.zeros((), jnp.float32))
    return StepJob(step, carry, arrays, mode, check_steps)


def cast(tree: Any) -> Any:
    """Arrays of float32 in the type that the target computes in."""
    if not target.current.is_mixed:
        return tree
    return jax.tree.map(lambda a: a.astype(jnp.bfloat16) if a.dtype == jnp.float32 else a, tree)


def cross_entropy(logits: Any, y: Any) -> Any:
    """The mean softmax cross-entropy of integer labels."""
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    return -jnp.mean(jnp.take_along_axis(log_p, y[..., None], axis=-1))


def classify(
    forward: Callable[[Any, Any], Any], weights: Any, x: np.ndarray, y: np.ndarray, mode: str
) -> StepJob:
    """Trains `forward(weights, x)` with softmax cross-entropy and Adam."""

    def loss_of(weights: Any, state: Any, x: Any, y: Any) -> Any:
        return cross_entropy(forward(weights, x), y), state

    return train(loss_of, weights, (x, y), mode, rules.ADAM)
