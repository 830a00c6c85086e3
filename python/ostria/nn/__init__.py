# SPDX-License-Identifier: Apache-2.0
"""Layers and models."""

from typing import Any as _Any

from ostria import _keywords
from ostria._errors import at_line as _at_line
from ostria.nn import activations, initializers, regularizers
from ostria.nn.convolution import Conv2D
from ostria.nn.core import Activation, Dense, Embedding, Sequential
from ostria.nn.dropout import Dropout
from ostria.nn.module import Module
from ostria.nn.normalization import BatchNormalization, LayerNormalization
from ostria.nn.pooling import AvgPool2D, GlobalAveragePooling2D, MaxPool2D
from ostria.nn.reshaping import Flatten

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

# One name for each layer; Keras has a second one for some.
_OTHER_NAMES = {
    "MaxPooling2D": "MaxPool2D",
    "AveragePooling2D": "AvgPool2D",
    "GlobalAvgPool2D": "GlobalAveragePooling2D",
    "Model": "Module",
    "Layer": "Module",
}


def __getattr__(name: str) -> _Any:
    message = f"module 'ostria.nn' has no attribute '{name}'"
    if name.startswith("_"):
        raise AttributeError(message)
    guess = _OTHER_NAMES.get(name) or _keywords.closest_keyword(name, __all__)
    raise AttributeError(_at_line(message + (f"; did you mean `nn.{guess}`?" if guess else "")))
