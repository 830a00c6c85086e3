# SPDX-License-Identifier: Apache-2.0
"""Layers that only move data."""

from __future__ import annotations

from typing import Any

from ostria import _functions as F
from ostria.nn.module import Module


class Flatten(Module):
    """[batch, a, b, …] to [batch, a * b * …]."""

    def call(self, x: Any) -> Any:
        features: Any = 1
        for size in x.shape[1:]:
            features = features * size
        return F.reshape(x, (x.shape[0], features))
