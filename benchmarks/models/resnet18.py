# SPDX-License-Identifier: Apache-2.0
"""ResNet-18 for 32x32 images, batch norm, SGD with momentum: training images per second."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.models import data, resnet, rules
from benchmarks.suites import Suite

NET = resnet.CIFAR_18
RULE = rules.Momentum(0.01, 0.9)
POOL = 8
# After more steps the rounding of 20 normalised layers shows in the loss.
CHECK_STEPS = 8
MODES = {
    "ostria": ["compile"],
    "torch": ["eager", "eager_channels_last", "compile", "compile_channels_last"],
    "jax": ["jit"],
    "tensorflow": ["function", "xla"],
}


def make(framework: str, mode: str, batch: int, pool: int = POOL) -> Any:
    """A worker's job, with `pool` batches of examples."""
    weights = resnet.weights(NET)
    x, y = data.examples(batch, (32, 32, 3), pool)
    x -= 0.5
    makers = {"torch": _torch, "jax": _jax, "tensorflow": _tensorflow, "ostria": _ostria}
    return makers[framework](weights, x, y, mode)


def _torch(weights: resnet.Weights, x: np.ndarray, y: np.ndarray, mode: str) -> Any:
    import torch
    import torch.nn.functional as F

    from benchmarks.models import train_torch

    train_torch.setup()
    last = mode.endswith("_channels_last")
    layout = torch.channels_last if last else torch.contiguous_format

    class Training(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = resnet.torch_module(NET, weights, layout)

        def forward(self, x: Any, y: Any) -> Any:
            return F.cross_entropy(self.net(x), y)

    images = torch.from_numpy(x).permute(0, 1, 4, 2, 3).unbind()
    images = [image.contiguous(memory_format=layout) for image in images]
    batches = list(zip(images, train_torch.labels(y), strict=True))
    return train_torch.train(Training().train(), batches, mode, RULE, CHECK_STEPS)


def _jax(weights: resnet.Weights, x: np.ndarray, y: np.ndarray, mode: str) -> Any:
    from benchmarks.models import train_jax

    def loss_of(parameters: Any, stats: Any, x: Any, y: Any) -> Any:
        layers = resnet.JaxLayers(stats)
        logits = resnet.forward(NET, layers, *parameters, x)
        return train_jax.cross_entropy(logits, y), layers.moved

    parameters = (weights.units, weights.head)
    return train_jax.train(loss_of, parameters, (x, y), mode, RULE, weights.stats, CHECK_STEPS)


def _tensorflow(weights: resnet.Weights, x: np.ndarray, y: np.ndarray, mode: str) -> Any:
    import tensorflow as tf

    from benchmarks.models import train_tensorflow

    train_tensorflow.setup()
    units = [[tf.Variable(a) for a in unit] for unit in weights.units]
    stats = [[tf.Variable(a, trainable=False) for a in pair] for pair in weights.stats]
    head = [tf.Variable(a) for a in weights.head]
    both = [[*unit, *pair] for unit, pair in zip(units, stats, strict=True)]

    def loss_of(x: Any, y: Any) -> Any:
        logits = resnet.forward(NET, resnet.TensorFlowLayers(), both, head, x)
        return train_tensorflow.cross_entropy(logits, y)

    variables = [v for unit in units for v in unit] + head
    return train_tensorflow.train(loss_of, variables, (x, y), mode, RULE, CHECK_STEPS)


def _ostria(weights: resnet.Weights, x: np.ndarray, y: np.ndarray, mode: str) -> Any:
    from benchmarks.models import train_ostria

    model = resnet.model(NET)
    loss_of = train_ostria.classifier(model)
    arrays = resnet.ostria_arrays(weights)
    return train_ostria.train(model, loss_of, arrays, (x, y), mode, RULE, CHECK_STEPS)


SUITES = [Suite("resnet18", "images/s", MODES, make, [32], images=True)]
