# SPDX-License-Identifier: Apache-2.0
"""What layers of several families share: checks of shapes, regularization."""

from __future__ import annotations

from typing import Any

from ostria._errors import at_line
from ostria.nn import regularizers
from ostria.nn.module import Module


def penalize(module: Module, variable: Any, regularizer: Any) -> None:
    if regularizer is not None:
        rule = regularizers.get(regularizer)
        module.add_loss(lambda: rule(variable))


def require_rank(module: Module, shape: tuple[Any, ...], rank: int, meaning: str) -> None:
    if len(shape) != rank:
        raise ValueError(
            at_line(
                f"{module.name}: needs an input of rank {rank} ({meaning}), but its shape is "
                f"{list(shape)}"
            )
        )


def require_features(module: Module, x: Any, features: int) -> None:
    if not x.shape or x.shape[-1] != features:
        raise ValueError(
            at_line(
                f"{module.name}: its weights are for {features} features, but the last size of "
                f"{list(x.shape)} is another; build another layer for it"
            )
        )
