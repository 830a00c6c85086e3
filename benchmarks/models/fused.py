# SPDX-License-Identifier: Apache-2.0
"""What memory alone should limit: an elementwise chain, softmax, layer normalisation: GB/s.

Bytes are what must be read and written once, at the least; what an implementation moves beyond
shows as a lower rate. Small vectors count as nothing.

elementwise  gelu(x * a + b) * tanh(x) + c with vectors a, b, c: reads x, writes the result
softmax      reads x, writes the result;   softmax_grad  reads x and g, writes the gradient of x
layer_norm   likewise;                     layer_norm_grad  likewise, with those of scale and shift
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.models import data, job
from benchmarks.suites import Suite

EPSILON = 1e-5
SHAPES = {"elementwise": (4096, 4096), "softmax": (4096, 4096), "layer_norm": (8192, 1024)}
MODES = {
    "ostria": ["compile"],
    "torch": ["eager", "compile"],
    "jax": ["jit"],
    "tensorflow": ["function", "xla"],
}
Result = Callable[..., Any]


def _arrays(kind: str) -> list[np.ndarray]:
    """x, g of the same shape, and three vectors."""
    rng = np.random.default_rng(data.SEED)
    shape = SHAPES[kind]
    x, g = (rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
    return [x, g, *(rng.uniform(0.5, 1.5, shape[-1]).astype(np.float32) for _ in range(3))]


def _elementwise(gelu: Result, tanh: Result) -> Result:
    return lambda x, a, b, c: gelu(x * a + b) * tanh(x) + c


def make(kind: str, backward: bool, framework: str, mode: str, batch: int) -> Any:
    """A worker's job: the mean size of (the first) result stands for the loss."""
    makers = {"torch": _torch, "jax": _jax, "tensorflow": _tensorflow, "ostria": _ostria}
    convert, forward, step, read = makers[framework](kind, mode, backward)
    x, g, *vectors = (convert(a) for a in _arrays(kind))
    vectors = vectors[: {"elementwise": 3, "softmax": 0, "layer_norm": 2}[kind]]
    batch_of = (x, g, *vectors) if backward else (x, *vectors)
    return job.StepJob(step(forward), [batch_of], check_steps=2, read=read)


def _torch(kind: str, mode: str, backward: bool) -> Any:
    import torch
    import torch.nn.functional as F

    from benchmarks.models import train_torch

    train_torch.setup()
    torch.set_grad_enabled(backward)
    forward = {
        "elementwise": _elementwise(F.gelu, torch.tanh),
        "softmax": lambda x: torch.softmax(x, -1),
        "layer_norm": lambda x, a, b: F.layer_norm(x, x.shape[-1:], a, b, EPSILON),
    }[kind]

    def step(forward: Result) -> Result:
        if not backward:
            return forward if mode == "eager" else torch.compile(forward, fullgraph=True)

        def gradients(x: Any, g: Any, *vectors: Any) -> Any:
            if mode == "compile":
                return torch.func.vjp(forward, x, *vectors)[1](g)
            wrt = [v.detach().requires_grad_() for v in (x, *vectors)]
            return torch.autograd.grad(forward(*wrt), wrt, g)

        if mode == "eager":
            return gradients
        return torch.compile(gradients, fullgraph=True)

    return torch.from_numpy, forward, step, lambda out: job.sample(out[0] if backward else out)


def _jax(kind: str, mode: str, backward: bool) -> Any:
    import jax
    import jax.numpy as jnp

    def layer_norm(x: Any, a: Any, b: Any) -> Any:
        mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(var + EPSILON) * a + b

    forward = {
        "elementwise": _elementwise(partial(jax.nn.gelu, approximate=False), jnp.tanh),
        "softmax": partial(jax.nn.softmax, axis=-1),
        "layer_norm": layer_norm,
    }[kind]

    def step(forward: Result) -> Result:
        if not backward:
            return jax.jit(forward)
        return jax.jit(lambda x, g, *vectors: jax.vjp(forward, x, *vectors)[1](g))

    return jnp.array, forward, step, lambda out: job.sample(out[0] if backward else out)


def _tensorflow(kind: str, mode: str, backward: bool) -> Any:
    import tensorflow as tf

    from benchmarks.models import train_tensorflow

    train_tensorflow.setup()

    def layer_norm(x: Any, a: Any, b: Any) -> Any:
        mean, var = tf.nn.moments(x, -1, keepdims=True)
        return (x - mean) * tf.math.rsqrt(var + EPSILON) * a + b

    forward = {
        "elementwise": _elementwise(tf.nn.gelu, tf.tanh),
        "softmax": tf.nn.softmax,
        "layer_norm": layer_norm,
    }[kind]

    def step(forward: Result) -> Result:
        def gradients(x: Any, g: Any, *vectors: Any) -> Any:
            wrt = [x, *vectors]
            with tf.GradientTape() as tape:
                for v in wrt:
                    tape.watch(v)
                y = forward(*wrt)
            return tape.gradient(y, wrt, g)

        return train_tensorflow.compiled(gradients if backward else forward, mode)

    return tf.constant, forward, step, lambda out: job.sample(out[0] if backward else out)


def _ostria(kind: str, mode: str, backward: bool) -> Any:
    import ostria as ost

    def layer_norm(x: Any, a: Any, b: Any) -> Any:
        return ost.layer_norm(x, a, b, epsilon=EPSILON)[0]

    forward = {
        "elementwise": _elementwise(ost.gelu, ost.tanh),
        "softmax": ost.softmax,
        "layer_norm": layer_norm,
    }[kind]

    def step(forward: Result) -> Result:
        if not backward:
            return ost.compile(forward)

        def gradients(x: Any, g: Any, *vectors: Any) -> Any:
            wrt = [x, *vectors]
            return tuple(ost.gradients(forward(*wrt), wrt, [g]))

        return ost.compile(gradients)

    def read(out: Any) -> float:
        return job.sample((out[0] if backward else out).numpy())

    return ost.asarray, forward, step, read


def _suite(kind: str, backward: bool) -> Suite:
    rows, columns = SHAPES[kind]
    moved = 4 * rows * columns * (3 if backward else 2)
    name = f"{kind}_grad" if backward else kind
    return Suite(name, "GB/s", MODES, partial(make, kind, backward), step_bytes=moved)


SUITES = [
    _suite("elementwise", False),
    *(_suite(kind, backward) for kind in ("softmax", "layer_norm") for backward in (False, True)),
]
