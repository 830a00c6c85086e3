# SPDX-License-Identifier: Apache-2.0
"""Activation functions by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ostria import _native
from ostria._errors import at_line

_ops = _native.ops

_NAMED = (
    "relu",
    "sigmoid",
    "tanh",
    "gelu",
    "elu",
    "selu",
    "silu",
    "softplus",
    "leaky_relu",
    "softmax",
    "log_softmax",
)


def linear(x: Any) -> Any:
    """`x` itself."""
    return x


def get(activation: Any) -> Callable[[Any], Any]:
    """An activation from None ('linear'), its name, or a function of a tensor."""
    if activation is None or activation == "linear":
        return linear
    if isinstance(activation, str):
        if activation == "swish":
            activation = "silu"
        if activation not in _NAMED:
            raise ValueError(
                at_line(
                    f"activation '{activation}' is not known; accepted are linear, "
                    f"{', '.join(_NAMED)}"
                )
            )
        return getattr(_ops, activation)
    if callable(activation):
        return activation
    raise TypeError(
        at_line(f"activation {activation!r} is not accepted; give a name or a function")
    )
