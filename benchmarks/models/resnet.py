# SPDX-License-Identifier: Apache-2.0
"""Residual networks (He et al. 2015): one forward pass for every peer, and Ostria's modules.

A network is a list of units, convolution and batch normalisation, in the order they are computed.
Strided convolutions pad both sides alike, as in PyTorch. What differs is in the `Layers` of a
framework: `unit`, `relu`, `max_pool`, `mean` over height and width, `dense`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.models import data

EPSILON, MOMENTUM = 1e-5, 0.9  # of the moving averages, as Keras counts it


@dataclass(frozen=True)
class Net:
    """A stem, blocks of (channels, stride), a dense head."""

    stem: tuple[int, int]  # window and stride
    pool: bool
    bottleneck: bool
    blocks: list[tuple[int, int]]
    classes: int


def _stages(*stages: tuple[int, int, int]) -> list[tuple[int, int]]:
    return [(c, s if i == 0 else 1) for c, n, s in stages for i in range(n)]


CIFAR_18 = Net((3, 1), False, False, _stages((64, 2, 1), (128, 2, 2), (256, 2, 2), (512, 2, 2)), 10)
TINY = Net((3, 1), True, True, _stages((8, 1, 1), (8, 1, 2)), 10)
IMAGENET_50 = Net(
    (7, 2), True, True, _stages((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)), 1000
)


def plan(net: Net) -> list[tuple[int, int, int, int, float]]:
    """(window, stride, in, out, first gamma) of every unit, in the order of `forward`."""
    units = [(*net.stem, 3, 64, 1.0)]
    channels = 64
    for width, stride in net.blocks:
        out = 4 * width if net.bottleneck else width
        if net.bottleneck:
            units += [(1, 1, channels, width, 1.0), (3, stride, width, width, 1.0)]
            units += [(1, 1, width, out, 0.3)]
        else:
            units += [(3, stride, channels, out, 1.0), (3, 1, out, out, 0.3)]
        if stride != 1 or channels != out:
            units.append((1, stride, channels, out, 1.0))
        channels = out
    return units


@dataclass
class Weights:
    """HWIO kernels; the head is [in, out]. A unit is (kernel, gamma, beta), stats (mean, var)."""

    units: list[tuple[np.ndarray, ...]]
    stats: list[tuple[np.ndarray, ...]]
    head: tuple[np.ndarray, np.ndarray]

    def folded(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """(kernel, bias) of every unit as it is at inference."""
        result = []
        for (kernel, gamma, beta), (mean, var) in zip(self.units, self.stats, strict=True):
            factor = gamma / np.sqrt(var + EPSILON)
            result.append((kernel * factor, beta - mean * factor))
        return result


def weights(net: Net) -> Weights:
    """He's initialisation; the last unit of a branch starts small, so that depth adds little."""
    rng = np.random.default_rng(data.SEED)
    units, stats = [], []
    for window, _, inputs, outputs, gamma in plan(net):
        kernel = rng.standard_normal((window, window, inputs, outputs), dtype=np.float32)
        kernel *= np.float32(math.sqrt(2 / (window * window * inputs)))
        beta = rng.uniform(-0.1, 0.1, outputs).astype(np.float32)
        units.append((kernel, np.full(outputs, gamma, np.float32), beta))
        mean = rng.uniform(-0.1, 0.1, outputs).astype(np.float32)
        stats.append((mean, rng.uniform(0.9, 1.1, outputs).astype(np.float32)))
    features = units[-1][0].shape[-1]
    head = rng.standard_normal((features, net.classes), dtype=np.float32)
    head *= np.float32(math.sqrt(1 / features))
    return Weights(units, stats, (head, np.zeros(net.classes, np.float32)))


def forward(net: Net, layers: Any, units: Iterable[Any], head: Any, x: Any) -> Any:
    """The logits, with a framework's `layers`, its `units` in order and its `head`."""
    shapes = iter(zip(plan(net), units, strict=True))

    def unit(x: Any, relu: bool) -> Any:
        (window, stride, *_), weights = next(shapes)
        y = layers.unit(x, weights, stride, window // 2)
        return layers.relu(y) if relu else y

    x = unit(x, True)
    if net.pool:
        x = layers.max_pool(x)
    channels = 64
    for width, stride in net.blocks:
        out = 4 * width if net.bottleneck else width
        y = unit(x, True)
        if net.bottleneck:
            y = unit(y, True)
        y = unit(y, False)
        short = unit(x, False) if stride != 1 or channels != out else x
        x = layers.relu(y + short)
        channels = out
    return layers.dense(layers.mean(x), head)


# --- Ostria ---------------------------------------------------------------------------------------


def model(net: Net) -> Any:
    """The network as an Ostria user writes it."""
    from ostria import nn

    class Unit(nn.Module):
        def __init__(self, filters: int, window: int, stride: int):
            super().__init__()
            border = [window // 2] * 4
            self.conv = nn.Conv2D(filters, window, stride, padding=border, use_bias=False)
            self.norm = nn.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON)

        def call(self, x: Any) -> Any:
            return self.norm(self.conv(x))

    class Block(nn.Module):
        def __init__(self, inputs: int, width: int, stride: int):
            super().__init__()
            if net.bottleneck:
                outputs = 4 * width
                self.units = [Unit(width, 1, 1), Unit(width, 3, stride), Unit(outputs, 1, 1)]
            else:
                outputs = width
                self.units = [Unit(width, 3, stride), Unit(width, 3, 1)]
            self.short = Unit(outputs, 1, stride) if (inputs, 1) != (outputs, stride) else None

        def call(self, x: Any) -> Any:
            relu = nn.activations.get("relu")
            y = x
            for unit in self.units[:-1]:
                y = relu(unit(y))
            y = self.units[-1](y)
            return relu(y + (x if self.short is None else self.short(x)))

    layers: list[Any] = [Unit(64, *net.stem), nn.Activation("relu")]
    if net.pool:
        layers.append(nn.MaxPool2D(3, 2, padding=[1, 1, 1, 1]))
    channels = 64
    for width, stride in net.blocks:
        layers.append(Block(channels, width, stride))
        channels = 4 * width if net.bottleneck else width
    return nn.Sequential([*layers, nn.GlobalAveragePooling2D(), nn.Dense(net.classes)])


def ostria_arrays(given: Weights) -> list[np.ndarray]:
    """Trainable weights in Ostria's order and layout."""
    arrays = []
    for kernel, gamma, beta in given.units:
        arrays += [np.ascontiguousarray(kernel.transpose(3, 0, 1, 2)), gamma, beta]
    return [*arrays, *given.head]


# --- Peers ----------------------------------------------------------------------------------------


def torch_module(net: Net, given: Weights, layout: Any) -> Any:
    """An nn.Module that gives the logits of NCHW images."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    class Layers:
        relu = staticmethod(torch.relu)

        @staticmethod
        def unit(x: Any, unit: Any, stride: int, border: int) -> Any:
            return unit(x)

        @staticmethod
        def max_pool(x: Any) -> Any:
            return F.max_pool2d(x, 3, 2, 1)

        @staticmethod
        def mean(x: Any) -> Any:
            return x.mean((2, 3))

        @staticmethod
        def dense(x: Any, head: Any) -> Any:
            return head(x)

    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.units = nn.ModuleList()
            shapes = zip(plan(net), given.units, given.stats, strict=True)
            for (window, stride, inputs, outputs, _), (kernel, gamma, beta), (mean, var) in shapes:
                conv = nn.Conv2d(inputs, outputs, window, stride, window // 2, bias=False)
                norm = nn.BatchNorm2d(outputs, EPSILON, 1 - MOMENTUM)
                with torch.no_grad():
                    conv.weight.copy_(torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()))
                    for mine, value in (
                        (norm.weight, gamma),
                        (norm.bias, beta),
                        (norm.running_mean, mean),
                        (norm.running_var, var),
                    ):
                        mine.copy_(torch.from_numpy(value))
                self.units.append(nn.Sequential(conv, norm))
            self.head = nn.Linear(*given.head[0].shape)
            with torch.no_grad():
                self.head.weight.copy_(torch.from_numpy(given.head[0].T.copy()))
                self.head.bias.copy_(torch.from_numpy(given.head[1]))

        def forward(self, x: Any) -> Any:
            return forward(net, Layers, self.units, self.head, x)

    return Module().to(memory_format=layout)


class JaxLayers:
    """A unit is (kernel, bias), or (kernel, gamma, beta): then statistics of the batch are used."""

    def __init__(self, stats: Any = None):
        import jax

        self.relu = jax.nn.relu
        self._stats = None if stats is None else iter(stats)
        self.moved: list[Any] = []  # the next moving averages

    def unit(self, x: Any, unit: Any, stride: int, border: int) -> Any:
        import jax

        kernel, *norm = unit
        dims = ("NHWC", "HWIO", "NHWC")
        pads = [(border, border)] * 2
        x = jax.lax.conv_general_dilated(x, kernel, (stride,) * 2, pads, dimension_numbers=dims)
        if len(norm) == 1:
            return x + norm[0]
        gamma, beta = norm
        wide = x.astype(jax.numpy.float32)
        mean = wide.mean((0, 1, 2))
        if x.dtype == wide.dtype:
            var = wide.var((0, 1, 2))
        else:  # in one pass, as Flax does it
            var = (wide * wide).mean((0, 1, 2)) - mean * mean
        assert self._stats is not None
        old = next(self._stats)
        stop = jax.lax.stop_gradient
        new = (stop(mean), stop(var))
        self.moved.append(
            tuple(MOMENTUM * a + (1 - MOMENTUM) * b for a, b in zip(old, new, strict=True))
        )
        return ((wide - mean) * (gamma * jax.lax.rsqrt(var + EPSILON)) + beta).astype(x.dtype)

    def max_pool(self, x: Any) -> Any:
        import jax

        window, strides, pads = (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0))
        return jax.lax.reduce_window(x, -jax.numpy.inf, jax.lax.max, window, strides, pads)

    def mean(self, x: Any) -> Any:
        return x.mean((1, 2))

    def dense(self, x: Any, head: Any) -> Any:
        return x @ head[0] + head[1]


class TensorFlowLayers:
    """A unit is (kernel, bias), or (kernel, gamma, beta, mean, var), whose statistics move."""

    def __init__(self) -> None:
        import tensorflow as tf

        self._tf = tf
        self.relu = tf.nn.relu

    def unit(self, x: Any, unit: Any, stride: int, border: int) -> Any:
        tf = self._tf
        kernel, *norm = unit
        pads = [[0, 0], [border, border], [border, border], [0, 0]]
        x = tf.nn.conv2d(x, kernel, stride, pads)
        if len(norm) == 1:
            return tf.nn.bias_add(x, norm[0])
        gamma, beta, *old = norm
        y, *new = tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, epsilon=EPSILON)
        for average, value in zip(old, new, strict=True):
            average.assign(MOMENTUM * average + (1 - MOMENTUM) * tf.stop_gradient(value))
        return y

    def max_pool(self, x: Any) -> Any:
        # XLA pools without explicit padding only; after a relu, zeros are as good as nothing.
        x = self._tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
        return self._tf.nn.max_pool2d(x, 3, 2, "VALID")

    def mean(self, x: Any) -> Any:
        return self._tf.reduce_mean(x, (1, 2))

    def dense(self, x: Any, head: Any) -> Any:
        return self._tf.matmul(x, head[0]) + head[1]
