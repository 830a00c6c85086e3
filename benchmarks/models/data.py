# SPDX-License-Identifier: Apache-2.0
"""Weights and examples of the training workloads: NumPy only, one seed, the same for everybody.

Dense kernels are [in, out], convolution kernels [height, width, in, out], images NHWC; each
framework's adapter permutes them as it likes, before the clock starts.
"""

from __future__ import annotations

import math

import numpy as np

SEED = 20260101
POOL = 32  # batches that are cycled through; also the steps after which losses are compared
LEARNING_RATE = 1e-3
# So small that it does not matter whether it is added before or after the bias correction (PyTorch
# and Keras differ); gradients that matter are far above it.
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-12
# 1 - beta**t is -expm1(t * log(beta)): in float32 the former is off by 1e-5 at first, which is
# enough to change the loss after 32 steps by 5e-4.
LOG_BETA_1, LOG_BETA_2 = math.log(BETA_1), math.log(BETA_2)

Array = np.ndarray
Layers = list[tuple[Array, Array]]


def _kernel(rng: np.random.Generator, *shape: int) -> Array:
    field = math.prod(shape[:-2])
    limit = math.sqrt(6.0 / (field * (shape[-2] + shape[-1])))  # Glorot, Bengio 2010
    return rng.uniform(-limit, limit, shape).astype(np.float32)


def layer(rng: np.random.Generator, *shape: int) -> tuple[Array, Array]:
    """(kernel, bias) of a dense or convolution layer; the last two sizes are in and out."""
    return _kernel(rng, *shape), rng.uniform(-0.01, 0.01, shape[-1]).astype(np.float32)


def mlp_weights() -> Layers:
    """(kernel, bias) of 784-256-256-10."""
    rng = np.random.default_rng(SEED)
    return [layer(rng, 784, 256), layer(rng, 256, 256), layer(rng, 256, 10)]


def cnn_weights() -> Layers:
    """(kernel, bias) of conv 3x3x32, conv 3x3x64, (max-pool 2), dense 128, dense 10 on 28x28x1."""
    rng = np.random.default_rng(SEED)
    convolutions = [layer(rng, 3, 3, 1, 32), layer(rng, 3, 3, 32, 64)]
    return [*convolutions, layer(rng, 12 * 12 * 64, 128), layer(rng, 128, 10)]


def examples(batch: int, shape: tuple[int, ...], pool: int = POOL) -> tuple[Array, Array]:
    """`pool` batches: x [pool, batch, *shape] in 0..1, y [pool, batch] int32 in 0..9.

    The classes are those of a random linear model, so there is something to learn: a step left out
    shows in the loss.
    """
    rng = np.random.default_rng(SEED + 1)
    teacher = rng.standard_normal((math.prod(shape), 10), dtype=np.float32)
    x = rng.random((pool, batch, *shape), dtype=np.float32)
    scores = (x.reshape(pool, batch, -1) - 0.5) @ teacher
    return x, scores.argmax(-1).astype(np.int32)
