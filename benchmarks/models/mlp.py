# SPDX-License-Identifier: Apache-2.0
"""784-256-256-10, relu, Adam, float32: training steps per second."""

from __future__ import annotations

from typing import Any

from benchmarks.models import data
from benchmarks.suites import Suite

MODES = {
    "ostria": ["compile"],
    "torch": ["eager", "compile", "compile_step"],
    "jax": ["jit", "scan"],
    "tensorflow": ["function", "xla"],
}


def make(framework: str, mode: str, batch: int, pool: int = data.POOL) -> Any:
    """A worker's job, with `pool` batches of examples."""
    weights = data.mlp_weights()
    x, y = data.examples(batch, (784,), pool)
    if framework == "torch":
        return _torch(weights, x, y, mode)
    if framework == "jax":
        return _jax(weights, x, y, mode)
    if framework == "tensorflow":
        return _tensorflow(weights, x, y, mode)
    return _ostria(weights, x, y, mode)


def _torch(weights: data.Layers, x: Any, y: Any, mode: str) -> Any:
    from benchmarks.models import train_torch

    train_torch.setup()
    return train_torch.classify(*torch_parts(weights, x, mode), y, mode)


def torch_parts(weights: data.Layers, x: Any, mode: str) -> tuple[Any, list[Any], list[Any]]:
    """(logits as a function of parameters and images, parameters, batches) in PyTorch."""
    import torch
    import torch.nn.functional as F

    def forward(p: list[Any], x: Any) -> Any:  # weights as nn.Linear has them: [out, in]
        x = torch.relu(F.linear(x, p[0], p[1]))
        x = torch.relu(F.linear(x, p[2], p[3]))
        return F.linear(x, p[4], p[5])

    parameters = [torch.tensor(a) for w, b in weights for a in (w.T.copy(), b)]
    return forward, parameters, list(torch.from_numpy(x).unbind())


def _jax(weights: data.Layers, x: Any, y: Any, mode: str) -> Any:
    import jax

    from benchmarks.models import train_jax

    def forward(p: Any, x: Any) -> Any:
        for w, b in p[:-1]:
            x = jax.nn.relu(x @ w + b)
        return x @ p[-1][0] + p[-1][1]

    return train_jax.classify(forward, weights, x, y, mode)


def _tensorflow(weights: data.Layers, x: Any, y: Any, mode: str) -> Any:
    import tensorflow as tf

    from benchmarks.models import train_tensorflow

    def forward(p: Any, x: Any) -> Any:
        x = tf.nn.relu(tf.matmul(x, p[0]) + p[1])
        x = tf.nn.relu(tf.matmul(x, p[2]) + p[3])
        return tf.matmul(x, p[4]) + p[5]

    return train_tensorflow.classify(forward, [a for layer in weights for a in layer], x, y, mode)


def model() -> Any:
    """The network as an Ostria user writes it."""
    import ostria as ost

    nn = ost.nn
    return nn.Sequential([nn.Dense(256, "relu"), nn.Dense(256, "relu"), nn.Dense(10)])


def _ostria(weights: data.Layers, x: Any, y: Any, mode: str) -> Any:
    from benchmarks.models import train_ostria

    return train_ostria.classify(model(), ostria_weights(weights), x, y, mode)


def ostria_weights(weights: data.Layers) -> list[Any]:
    """The weights in the order and layout of `model`."""
    return [a for layer in weights for a in layer]


SUITES = [Suite("mlp", "steps/s", MODES, make, [1, 32, 128, 512])]
