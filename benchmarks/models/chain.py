# SPDX-License-Identifier: Apache-2.0
"""A compiled call of 100 small elementwise ops, one after another, on 16 numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.models import job
from benchmarks.suites import Suite

SIZE, OPS = 16, 100
MODES = {
    "ostria": ["compile", "eager"],
    "torch": ["compile", "eager"],
    "jax": ["jit"],
    "tensorflow": ["function", "xla"],
}


def _chain(tanh: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    def function(x: Any, y: Any) -> Any:
        for _ in range(OPS // 4):
            x = tanh(x * y + y) - x
        return x

    return function


def make(framework: str, mode: str, batch: int) -> Any:
    """A worker's job: the mean size of the result stands for the loss."""
    x, y = np.linspace(-1, 1, SIZE, dtype=np.float32), np.linspace(0, 1, SIZE, dtype=np.float32)
    if framework == "torch":
        import torch

        from benchmarks.models import train_torch

        train_torch.setup()
        torch.set_grad_enabled(False)
        chain = _chain(torch.tanh)
        step = chain if mode == "eager" else torch.compile(chain, fullgraph=True)
        return job.StepJob(step, [(torch.tensor(x), torch.tensor(y))], read=job.sample)
    if framework == "jax":
        import jax
        import jax.numpy as jnp

        step = jax.jit(_chain(jnp.tanh))
        return job.StepJob(step, [(jnp.array(x), jnp.array(y))], read=job.sample)
    if framework == "tensorflow":
        import tensorflow as tf

        from benchmarks.models import train_tensorflow

        train_tensorflow.setup()
        step = train_tensorflow.compiled(_chain(tf.tanh), mode)
        return job.StepJob(step, [(tf.constant(x), tf.constant(y))], read=job.sample)
    import ostria as ost

    step = _chain(ost.tanh) if mode == "eager" else ost.compile(_chain(ost.tanh))
    return job.StepJob(
        step, [(ost.asarray(x), ost.asarray(y))], read=lambda out: job.sample(out.numpy())
    )


SUITES = [Suite("chain", "us/call", MODES, make)]
