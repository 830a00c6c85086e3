# SPDX-License-Identifier: Apache-2.0
"""What optimizers hold weights to: after a step, a weight is replaced by the constraint of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ostria import _checks, _keywords, _native
from ostria._errors import at_line

__all__ = ["MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm", "get"]

_ops = _native.ops
_TINY = 1e-7  # Keras's epsilon, so that a norm of 0 divides nothing
Axis = int | Sequence[int]


@_keywords.checked_init
class MaxNorm:
    """Norms over `axis` of at most `max_value`.

    Args:
        max_value: the limit.
        axis: what a norm runs over: 0 for the inputs of each unit of a Dense kernel, (1, 2, 3) for
            those of each filter of a Conv2D kernel, which is [out, kh, kw, in].
    """

    def __init__(self, max_value: float = 2, axis: Axis = 0):
        self.max_value = _checks.check_not_negative("MaxNorm", "max_value", max_value)
        self.axis = _axes(axis)

    def __call__(self, w: Any) -> Any:
        norms = _norms(w, self.axis)
        return w * (_ops.clip(norms, 0.0, self.max_value) / (norms + _TINY))


class NonNeg:
    """No negative elements."""

    def __call__(self, w: Any) -> Any:
        return _ops.maximum(w, 0.0)


@_keywords.checked_init
class UnitNorm:
    """Norms over `axis` of 1.

    Args:
        axis: as in `MaxNorm`.
    """

    def __init__(self, axis: Axis = 0):
        self.axis = _axes(axis)

    def __call__(self, w: Any) -> Any:
        return w / (_norms(w, self.axis) + _TINY)


@_keywords.checked_init
class MinMaxNorm:
    """Norms over `axis` between two values, or nearer to them.

    Args:
        min_value: the lower limit.
        max_value: the upper limit.
        rate: how much of the way to the limits a step goes, 0 … 1.
        axis: as in `MaxNorm`.
    """

    def __init__(
        self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Axis = 0
    ):
        self.min_value = _checks.check_not_negative("MinMaxNorm", "min_value", min_value)
        self.max_value = _checks.check_not_negative("MinMaxNorm", "max_value", max_value)
        if self.min_value > self.max_value:
            raise ValueError(
                at_line(
                    f"MinMaxNorm: min_value {min_value!r} is over max_value {max_value!r}; give "
                    "min_value <= max_value"
                )
            )
        self.rate = _checks.check_fraction("MinMaxNorm", "rate", rate)
        self.axis = _axes(axis)

    def __call__(self, w: Any) -> Any:
        norms = _norms(w, self.axis)
        inside = _ops.clip(norms, self.min_value, self.max_value)
        wanted = inside * self.rate + norms * (1.0 - self.rate)
        return w * (wanted / (norms + _TINY))


_NAMED: dict[str, Callable[[], Any]] = {
    "max_norm": MaxNorm,
    "non_neg": NonNeg,
    "unit_norm": UnitNorm,
    "min_max_norm": MinMaxNorm,
}


def get(constraint: Any) -> Any:
    """A constraint from None, a name such as 'max_norm' or 'MaxNorm', or a function of a weight.

    Example:
        >>> from ostria import nn
        >>> nn.constraints.get("non_neg")([-1.0, 2.0]).numpy().tolist()
        [0.0, 2.0]
    """
    if constraint is None or callable(constraint):
        return constraint
    plain = constraint.replace("_", "").lower() if isinstance(constraint, str) else None
    for name, make in _NAMED.items():
        if plain == name.replace("_", ""):
            return make()
    raise ValueError(
        at_line(
            f"constraint {constraint!r} is not known; accepted are {', '.join(_NAMED)}, or a "
            "function of the weight"
        )
    )


def _norms(w: Any, axes: tuple[int, ...]) -> Any:
    return _ops.sqrt(_ops.sum(_ops.square(w), axes, True))


def _axes(axis: Axis) -> tuple[int, ...]:
    return (int(axis),) if _checks.is_int(axis) else tuple(axis)  # type: ignore[arg-type]
