# SPDX-License-Identifier: Apache-2.0
"""Activation functions under Keras's names, and by name: what layers take as `activation`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ostria import _functions as F
from ostria import _keywords, _native
from ostria._checks import check_not_negative
from ostria._errors import at_line

_ops = _native.ops

# Every op of one tensor whose other arguments have defaults; `threshold` has none.
_OPS = (
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
    "celu",
    "glu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "log_sigmoid",
    "mish",
    "relu6",
    "soft_shrink",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "tanh_shrink",
)
_OTHER_NAMES = {"swish": "silu", "hard_swish": "hard_silu"}


def linear(x: Any) -> Any:
    """`x` itself."""
    return x


def exponential(x: Any) -> Any:
    """exp(x)."""
    return _ops.exp(x)


def relu(
    x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> Any:
    """`x` from the threshold on, at most `max_value`; a straight line below the threshold.

    Args:
        x: floats.
        negative_slope: of the line negative_slope (x - threshold).
        max_value: the largest result; None for no limit.
        threshold: where `x` itself begins.

    Raises:
        ValueError: a parameter is negative.

    Example:
        >>> import ostria as ost
        >>> x = ost.asarray([-2.0, 0.5, 3.0, 9.0])
        >>> ost.nn.activations.relu(x, 0.5, 6.0, 1.0).numpy().tolist()
        [-1.5, -0.25, 3.0, 6.0]
    """
    check_relu("relu", negative_slope, max_value, threshold)
    x = F.astensor(x)
    if threshold:
        below = negative_slope * (x - threshold) if negative_slope else 0.0
        y = _ops.where(x >= threshold, x, below)
    else:
        y = _ops.leaky_relu(x, float(negative_slope)) if negative_slope else _ops.relu(x)
    return y if max_value is None else _ops.minimum(y, float(max_value))


def check_relu(name: str, negative_slope: float, max_value: float | None, threshold: float) -> None:
    """Raises ValueError for a parameter that no relu has."""
    given = {"negative_slope": negative_slope, "threshold": threshold}
    for key, value in {**given, "max_value": 0.0 if max_value is None else max_value}.items():
        check_not_negative(name, key, value)


def __getattr__(name: str) -> Any:
    op = _OTHER_NAMES.get(name, name)
    if op in _OPS or op == "threshold":
        return getattr(_ops, op)
    raise AttributeError(at_line(f"module 'ostria.nn.activations' has no attribute '{name}'"))


def __dir__() -> list[str]:
    return sorted({*globals(), *_OPS, *_OTHER_NAMES, "threshold"})


def get(activation: Any) -> Callable[[Any], Any]:
    """An activation from None ('linear'), its name, or a function of a tensor."""
    if activation is None:
        return linear
    if isinstance(activation, str):
        own = {"linear": linear, "relu": _ops.relu, "exponential": exponential}
        name = _OTHER_NAMES.get(activation, activation)
        if name in own:
            return own[name]
        if name not in _OPS:
            accepted = (*own, *_OPS, *_OTHER_NAMES)
            raise ValueError(at_line(_keywords.unknown_name("activation", activation, accepted)))
        return getattr(_ops, name)
    if callable(activation):
        return activation
    raise TypeError(
        at_line(f"activation {activation!r} is not accepted; give a name or a function")
    )
