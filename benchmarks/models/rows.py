# SPDX-License-Identifier: Apache-2.0
"""What a step by rows costs as its table grows: 512 ids drawn afresh each step, rows of 64.

The batches are the rows of the table. Ids are uniform, so a large table is read from memory where a
small one lies in a cache: a curve that rises by that much is no work for rows that nobody read.

torch eager_sparse     row-wise gradients
jax jit_rows           duplicates summed for Adagrad, `.at[ids]` updates, donated buffers
tensorflow function    IndexedSlices; the row-wise update op, or scatter_sub
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.models import data, job, rules
from benchmarks.suites import Suite

ROWS = (10_000, 100_000, 1_000_000)
WIDTH, BATCH = 64, 512
POOL = 2048  # batches of ids: a million draws, far more than caches hold rows of
CHECK_STEPS = 32
RULES = {"sgd": rules.Momentum(0.1), "adagrad": rules.Adagrad(0.1)}
MODES = {
    "ostria": ["compile"],
    "torch": ["eager_sparse"],
    "jax": ["jit_rows"],
    "tensorflow": ["function"],
}


def table(rows: int) -> np.ndarray:
    """The table before the first step."""
    return np.random.default_rng(data.SEED).random((rows, WIDTH), dtype=np.float32)


def ids(rows: int, pool: int) -> np.ndarray:
    """[pool, BATCH] ids below `rows`."""
    rng = np.random.default_rng(data.SEED + 1)
    return rng.integers(0, rows, (pool, BATCH), dtype=np.int32)


def make(kind: str, framework: str, mode: str, rows: int, pool: int = POOL) -> Any:
    """A worker's job: every row that is read moves towards -1, from which it is in 0..1."""
    makers = {"torch": _torch, "jax": _jax, "tensorflow": _tensorflow, "ostria": _ostria}
    return makers[framework](RULES[kind], table(rows), ids(rows, pool))


def _torch(rule: Any, start: np.ndarray, ids: np.ndarray) -> Any:
    import torch
    import torch.nn.functional as F

    from benchmarks.models import train_torch

    train_torch.setup()
    weight = torch.nn.Parameter(torch.from_numpy(start))
    optimizer = rule.torch([weight], sparse=True)

    def step(ids: Any) -> Any:
        loss = 0.5 * (F.embedding(ids, weight, sparse=True) + 1).square().sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return job.StepJob(step, job.batches_of((ids,), torch.from_numpy), CHECK_STEPS)


def _jax(rule: Any, start: np.ndarray, ids: np.ndarray) -> Any:
    import jax
    import jax.numpy as jnp

    from benchmarks.models import train_jax

    def loss_of(rows: Any) -> Any:
        return 0.5 * jnp.square(rows + 1).sum()

    def step(carry: Any, ids: Any) -> Any:
        weight, slots, seen = carry
        loss, g = jax.value_and_grad(loss_of)(weight[ids])
        if slots:
            seen, place, first = train_jax.places(seen, ids)
            weight, *slots = train_jax.adagrad_rows(rule, weight, *slots, first, place, ids, g)
        else:
            weight = weight.at[ids].add(-rule.rate * g)
        return (weight, slots, seen), loss

    weight = jnp.array(start)
    slots = [jnp.full_like(weight, s) for s in rule.slots]
    carry = (weight, slots, jnp.zeros(len(start), jnp.int32))
    return train_jax.StepJob(step, carry, (ids,), "jit", CHECK_STEPS)


def _tensorflow(rule: Any, start: np.ndarray, ids: np.ndarray) -> Any:
    import tensorflow as tf

    from benchmarks.models import train_tensorflow

    train_tensorflow.setup()
    weight = tf.Variable(start)
    slots = [tf.Variable(tf.fill(weight.shape, s)) for s in rule.slots]

    def step(ids: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = 0.5 * tf.reduce_sum(tf.square(tf.gather(weight, ids) + 1))
        g = tape.gradient(loss, weight)
        if slots:
            train_tensorflow.adagrad_rows(rule, weight, *slots, g)
        else:
            weight.scatter_sub(tf.IndexedSlices(rule.rate * g.values, g.indices))
        return loss

    batches = job.batches_of((ids,), tf.constant)
    return job.StepJob(train_tensorflow.compiled(step, "function"), batches, CHECK_STEPS)


def _ostria(rule: Any, start: np.ndarray, ids: np.ndarray) -> Any:
    import ostria as ost
    from benchmarks.models import train_ostria

    model = ost.nn.Embedding(*start.shape)

    def loss_of(ids: Any) -> Any:
        return 0.5 * ost.sum(ost.square(model(ids) + 1))

    return train_ostria.train(model, loss_of, [start], (ids,), "compile", rule, CHECK_STEPS)


SUITES = [
    Suite(f"rows_{kind}", "us/step", MODES, partial(make, kind), list(ROWS), curve=True)
    for kind in RULES
]
