# SPDX-License-Identifier: Apache-2.0
"""The arguments that every optimizer takes, and their checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from ostria import _checks
from ostria._errors import at_line


class Decaying(TypedDict, total=False):
    """Weight decay; apart from the others because AdamW has it among its own arguments."""

    weight_decay: float | None


class Shared(TypedDict, total=False):
    """What is the same for all optimizers; `optim.Optimizer` says what each means."""

    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    learning_rate_multipliers: Mapping[str, float] | None
    name: str | None


class Options(Decaying, Shared, total=False):
    """All of them."""


def check_clipping(kind: str, limits: dict[str, Any]) -> None:
    """At most one of the limits, each a number of at least 0."""
    given = [key for key, value in limits.items() if value is not None]
    if len(given) > 1:
        raise ValueError(
            at_line(f"{kind}: {' and '.join(given)} exclude each other; give at most one")
        )
    for key in given:
        _checks.check_not_negative(kind, key, limits[key])


def check_averaging(kind: str, momentum: Any, frequency: Any) -> None:
    """The arguments of the moving average of weights."""
    _checks.check_fraction(kind, "ema_momentum", momentum)
    if frequency is not None and not (_checks.is_int(frequency) and frequency > 0):
        raise ValueError(
            at_line(
                f"{kind}: ema_overwrite_frequency {frequency!r} is not accepted; give a positive "
                "number of steps, or None to keep the averages apart"
            )
        )


def check_multipliers(kind: str, multipliers: Any) -> dict[str, float]:
    """`learning_rate_multipliers` as a dict from pattern to a positive factor."""
    if not isinstance(multipliers, Mapping):
        raise TypeError(
            at_line(
                f"{kind}: learning_rate_multipliers {multipliers!r} is not accepted; give a "
                'dict from patterns of variable names to factors, such as {"encoder/*": 0.1}'
            )
        )
    for pattern, factor in multipliers.items():
        if not (_checks.is_number(factor) and 0 < factor < float("inf")):
            raise ValueError(
                at_line(
                    f"{kind}: learning_rate_multipliers has {factor!r} for '{pattern}'; give a "
                    "positive factor; to freeze weights set trainable = False"
                )
            )
    return {str(pattern): float(factor) for pattern, factor in multipliers.items()}
