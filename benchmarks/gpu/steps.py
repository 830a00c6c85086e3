# SPDX-License-Identifier: Apache-2.0
"""Small training steps on any device: their losses say whether two devices compute the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def _classes(model: Any, optimizer: Any, precision: str | None, device: str) -> Callable[..., Any]:
    import ostria as ost

    loss_fn = ost.losses.SparseCategoricalCrossentropy(from_logits=True)
    if precision == "mixed_float16":  # a scale at which no step of these overflows
        optimizer = ost.optim.LossScaleOptimizer(optimizer, initial_scale=1024.0)

    def step(x: Any, y: Any) -> Any:
        loss = loss_fn(y, model(x, training=True))
        optimizer.minimize(loss, model.trainable_variables)
        return loss

    compiled: Callable[..., Any] = ost.compile(step, device=device, precision=precision)
    return compiled


def mlp(device: str, precision: str | None = None) -> tuple[Any, tuple[Any, ...]]:
    """784-256-256-10 with Adam, batch 128."""
    import ostria as ost
    from benchmarks.models import mlp as model

    rng = np.random.default_rng(0)
    batch = rng.normal(size=(128, 784)).astype(np.float32), rng.integers(0, 10, 128)
    return _classes(model.model(), ost.optim.Adam(1e-3), precision, device), batch


def cnn(device: str, precision: str | None = None) -> tuple[Any, tuple[Any, ...]]:
    """Two convolutions with batch normalisation and pooling."""
    import ostria as ost
    from ostria import nn

    rng = np.random.default_rng(0)
    batch = rng.normal(size=(64, 28, 28, 1)).astype(np.float32), rng.integers(0, 10, 64)
    layers = [nn.Conv2D(32, 3, padding="same"), nn.BatchNormalization(), nn.Activation("relu")]
    layers += [nn.MaxPool2D(2), nn.Conv2D(64, 3, padding="same", activation="relu")]
    layers += [nn.GlobalAveragePooling2D(), nn.Dense(10)]
    return _classes(nn.Sequential(layers), ost.optim.Adam(1e-3), precision, device), batch


def lstm(device: str, precision: str | None = None) -> tuple[Any, tuple[Any, ...]]:
    """An embedding, an LSTM and a classifier."""
    import ostria as ost
    from ostria import nn

    rng = np.random.default_rng(0)
    batch = rng.integers(0, 50, (8, 12)), rng.integers(0, 5, 8)
    net = nn.Sequential([nn.Embedding(50, 32), nn.LSTM(48), nn.Dense(5)])
    return _classes(net, ost.optim.SGD(0.1, 0.9), precision, device), batch


def gpt(device: str, precision: str | None = None) -> tuple[Any, tuple[Any, ...]]:
    """The character transformer of the CPU's benchmarks."""
    import ostria as ost
    from benchmarks.models import char_gpt

    x, y = char_gpt.examples(8, 1)
    return _classes(char_gpt.model(), ost.optim.AdamW(1e-3), precision, device), (x[0], y[0])


STEPS = {"mlp": mlp, "cnn": cnn, "lstm": lstm, "char_gpt": gpt}


def losses(step: Any, batch: tuple[Any, ...], count: int) -> list[float]:
    """Of so many steps."""
    return [float(step(*batch).item()) for _ in range(count)]
