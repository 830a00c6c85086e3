# SPDX-License-Identifier: Apache-2.0
"""Conv 3x3x32, conv 3x3x64, max-pool 2, dense 128, dense 10 on 28x28x1, Adam: images per second.

Not there: jax scan. XLA's convolutions inside a loop are so slow (results/2026-11-25-amd-epyc.json)
that its first call takes minutes and it is never the best mode.
"""

from __future__ import annotations

from typing import Any

from benchmarks.models import data
from benchmarks.suites import Suite

MODES = {
    "ostria": ["compile"],
    "torch": [
        "eager",
        "eager_channels_last",
        "compile",
        "compile_channels_last",
        "compile_step_channels_last",
    ],
    "jax": ["jit"],
    "tensorflow": ["function", "xla"],
}


def make(framework: str, mode: str, batch: int, pool: int = data.POOL) -> Any:
    """A worker's job, with `pool` batches of examples."""
    weights = data.cnn_weights()
    x, y = data.examples(batch, (28, 28, 1), pool)
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

    last = mode.endswith("_channels_last")
    layout = torch.channels_last if last else torch.contiguous_format

    def forward(p: list[Any], x: Any) -> Any:
        x = torch.relu(F.conv2d(x, p[0], p[1]))
        x = torch.relu(F.conv2d(x, p[2], p[3]))
        x = F.max_pool2d(x, 2)
        # With NHWC memory this order of features is a view; the dense kernel below follows it.
        x = x.permute(0, 2, 3, 1).flatten(1) if last else x.flatten(1)
        x = torch.relu(F.linear(x, p[4], p[5]))
        return F.linear(x, p[6], p[7])

    parameters = []
    for w, b in weights[:2]:
        kernel = torch.tensor(w.transpose(3, 2, 0, 1).copy())
        parameters += [kernel.contiguous(memory_format=layout), torch.tensor(b)]
    dense, bias = weights[2]
    if not last:
        dense = dense.reshape(12, 12, 64, 128).transpose(2, 0, 1, 3).reshape(-1, 128)
    parameters += [torch.tensor(dense.T.copy()), torch.tensor(bias)]
    parameters += [torch.tensor(weights[3][0].T.copy()), torch.tensor(weights[3][1])]
    images = torch.from_numpy(x).permute(0, 1, 4, 2, 3).unbind()
    batches = [image.contiguous(memory_format=layout) for image in images]
    return forward, parameters, batches


def _jax(weights: data.Layers, x: Any, y: Any, mode: str) -> Any:
    import jax

    from benchmarks.models import train_jax

    def conv(x: Any, w: Any, b: Any) -> Any:
        dims = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=dims) + b

    def forward(p: Any, x: Any) -> Any:
        x = jax.nn.relu(conv(x, *p[0]))
        x = jax.nn.relu(conv(x, *p[1]))
        window = (1, 2, 2, 1)
        x = jax.lax.reduce_window(x, -jax.numpy.inf, jax.lax.max, window, window, "VALID")
        x = x.reshape(x.shape[0], -1)
        x = jax.nn.relu(x @ p[2][0] + p[2][1])
        return x @ p[3][0] + p[3][1]

    return train_jax.classify(forward, weights, x, y, mode)


def _tensorflow(weights: data.Layers, x: Any, y: Any, mode: str) -> Any:
    import tensorflow as tf

    from benchmarks.models import train_tensorflow

    def forward(p: Any, x: Any) -> Any:
        for w, b in (p[:2], p[2:4]):
            x = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, w, 1, "VALID"), b))
        x = tf.nn.max_pool2d(x, 2, 2, "VALID")
        x = tf.reshape(x, (x.shape[0], -1))
        x = tf.nn.relu(tf.matmul(x, p[4]) + p[5])
        return tf.matmul(x, p[6]) + p[7]

    return train_tensorflow.classify(forward, [a for layer in weights for a in layer], x, y, mode)


def model() -> Any:
    """The network as an Ostria user writes it."""
    import ostria as ost

    nn = ost.nn
    convolutions = [nn.Conv2D(32, 3, activation="relu"), nn.Conv2D(64, 3, activation="relu")]
    head = [nn.MaxPool2D(2), nn.Flatten(), nn.Dense(128, "relu"), nn.Dense(10)]
    return nn.Sequential([*convolutions, *head])


def _ostria(weights: data.Layers, x: Any, y: Any, mode: str) -> Any:
    from benchmarks.models import train_ostria

    return train_ostria.classify(model(), ostria_weights(weights), x, y, mode)


def ostria_weights(weights: data.Layers) -> list[Any]:
    """The weights in the order and layout of `model`."""
    arrays = []
    for w, b in weights:
        arrays += [w.transpose(3, 0, 1, 2).copy() if w.ndim == 4 else w, b]  # kernels are OHWI
    return arrays


SUITES = [Suite("cnn", "images/s", MODES, make, [32, 128], images=True)]
