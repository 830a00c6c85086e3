# SPDX-License-Identifier: Apache-2.0
"""Training of residual networks, in every framework, on images of ten or a thousand classes."""

from __future__ import annotations

from typing import Any

from benchmarks.models import data, resnet


def make(
    net: resnet.Net,
    size: int,
    rule: Any,
    framework: str,
    mode: str,
    batch: int,
    pool: int,
    check_steps: int,
) -> Any:
    """A worker's job on `pool` batches of images of `size` by `size`."""
    weights = resnet.weights(net)
    x, y = data.examples(batch, (size, size, 3), pool)
    x -= 0.5
    makers = {"torch": _torch, "jax": _jax, "tensorflow": _tensorflow, "ostria": _ostria}
    return makers[framework](net, weights, x, y, mode, rule, check_steps)


def _torch(
    net: resnet.Net, weights: resnet.Weights, x: Any, y: Any, mode: str, rule: Any, check: int
) -> Any:
    import torch
    import torch.nn.functional as F

    from benchmarks.models import train_torch

    train_torch.setup()
    last = mode.endswith("_channels_last")
    layout = torch.channels_last if last else torch.contiguous_format

    class Training(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = resnet.torch_module(net, weights, layout)

        def forward(self, x: Any, y: Any) -> Any:
            return F.cross_entropy(self.net(x), y)

    images = torch.from_numpy(x).permute(0, 1, 4, 2, 3).unbind()
    images = [image.contiguous(memory_format=layout) for image in images]
    batches = list(zip(images, train_torch.labels(y), strict=True))
    return train_torch.train(Training().train(), batches, mode, rule, check)


def _jax(
    net: resnet.Net, weights: resnet.Weights, x: Any, y: Any, mode: str, rule: Any, check: int
) -> Any:
    from benchmarks.models import train_jax

    def loss_of(parameters: Any, stats: Any, x: Any, y: Any) -> Any:
        layers = resnet.JaxLayers(stats)
        logits = resnet.forward(net, layers, *parameters, x)
        return train_jax.cross_entropy(logits, y), layers.moved

    parameters = (weights.units, weights.head)
    return train_jax.train(loss_of, parameters, (x, y), mode, rule, weights.stats, check)


def _tensorflow(
    net: resnet.Net, weights: resnet.Weights, x: Any, y: Any, mode: str, rule: Any, check: int
) -> Any:
    import tensorflow as tf

    from benchmarks.models import train_tensorflow

    train_tensorflow.setup()
    units = [[tf.Variable(a) for a in unit] for unit in weights.units]
    stats = [[tf.Variable(a, trainable=False) for a in pair] for pair in weights.stats]
    head = [tf.Variable(a) for a in weights.head]
    both = [[*unit, *pair] for unit, pair in zip(units, stats, strict=True)]

    def loss_of(x: Any, y: Any) -> Any:
        logits = resnet.forward(net, resnet.TensorFlowLayers(), both, head, x)
        return train_tensorflow.cross_entropy(logits, y)

    variables = [v for unit in units for v in unit] + head
    return train_tensorflow.train(loss_of, variables, (x, y), mode, rule, check)


def _ostria(
    net: resnet.Net, weights: resnet.Weights, x: Any, y: Any, mode: str, rule: Any, check: int
) -> Any:
    from benchmarks.models import train_ostria

    model = resnet.model(net)
    loss_of = train_ostria.classifier(model)
    arrays = resnet.ostria_arrays(weights)
    return train_ostria.train(model, loss_of, arrays, (x, y), mode, rule, check)
