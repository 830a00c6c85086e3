# SPDX-License-Identifier: Apache-2.0
"""Steps in TensorFlow, in the modes that its users would try.

eager      op by op
function   the whole step as one graph (`tf.function`), with oneDNN's kernels
xla        the same, compiled by XLA (`jit_compile=True`)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks import machine
from benchmarks.models import data, job, rules


def setup() -> None:
    """Threads: ops run one after another, each on all cores."""
    tf.config.threading.set_intra_op_parallelism_threads(machine.THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def compiled(step: Callable[..., Any], mode: str) -> Callable[..., Any]:
    """`step` in a mode."""
    if mode == "eager":
        return step
    if mode not in ("function", "xla"):
        raise ValueError(f"tensorflow: mode '{mode}' is not known")
    function: Callable[..., Any] = tf.function(step, jit_compile=mode == "xla", autograph=False)
    return function


def train(
    loss_of: Callable[..., Any],
    variables: Sequence[Any],
    arrays: Sequence[np.ndarray],
    mode: str,
    rule: Any,
    check_steps: int = data.POOL,
) -> job.StepJob:
    """Trains `variables` with `loss_of(*batch)`."""
    slots = [tuple(tf.Variable(tf.fill(v.shape, s)) for s in rule.slots) for v in variables]
    count = tf.Variable(0.0)

    def step(*batch: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(*batch)
        grads = [tf.convert_to_tensor(g) for g in tape.gradient(loss, variables)]  # rows too
        count.assign_add(1.0)
        scalars = rule.scalars(tf.math, count)
        for w, g, old in zip(variables, grads, slots, strict=True):
            value, new = rule.update(tf.math, w, g, old, scalars)
            w.assign(value)
            for slot, s in zip(old, new, strict=True):
                slot.assign(s)
        return loss

    return job.StepJob(compiled(step, mode), job.batches_of(arrays, tf.constant), check_steps)


def adagrad_rows(rule: Any, table: Any, a: Any, g: Any) -> None:
    """A step of the table and its accumulator with IndexedSlices, duplicates summed."""
    rows, place = tf.unique(tf.reshape(g.indices, (-1,)))
    values = tf.reshape(g.values, (-1, table.shape[-1]))
    tf.raw_ops.ResourceSparseApplyAdagradV2(
        var=table.handle,
        accum=a.handle,
        lr=rule.rate,
        epsilon=data.EPSILON,
        grad=tf.math.unsorted_segment_sum(values, place, tf.size(rows)),
        indices=rows,
    )


def cross_entropy(logits: Any, y: Any) -> Any:
    """The mean softmax cross-entropy of integer labels."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))


def classify(
    forward: Callable[[Any, Any], Any],
    weights: Sequence[np.ndarray],
    x: np.ndarray,
    y: np.ndarray,
    mode: str,
) -> job.StepJob:
    """Trains `forward(variables, x)` with softmax cross-entropy and Adam."""
    setup()
    variables = [tf.Variable(w) for w in weights]

    def loss_of(x: Any, y: Any) -> Any:
        return cross_entropy(forward(variables, x), y)

    return train(loss_of, variables, (x, y), mode, rules.ADAM)
