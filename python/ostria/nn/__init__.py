# SPDX-License-Identifier: Apache-2.0
"""Layers and models."""

from ostria.nn import activations, initializers, regularizers
from ostria.nn.layers import (
    Activation,
    AvgPool2D,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePooling2D,
    LayerNormalization,
    MaxPool2D,
    Sequential,
)
from ostria.nn.module import Module

__all__ = [
    "Activation",
    "AvgPool2D",
    "BatchNormalization",
    "Conv2D",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAveragePooling2D",
    "LayerNormalization",
    "MaxPool2D",
    "Module",
    "Sequential",
    "activations",
    "initializers",
    "regularizers",
]
