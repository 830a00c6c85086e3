# SPDX-License-Identifier: Apache-2.0
"""Moving averages of weights: slots that follow the weights, one more node per step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ostria import _native
from ostria._errors import at_line

_ops = _native.ops


class Averages:
    """average = momentum average + (1 - momentum) weight after each step; first the weight."""

    def __init__(self, momentum: float, overwrite_frequency: int | None):
        self._attributes = {
            "momentum": float(momentum),
            "overwrite_frequency": int(overwrite_frequency or 0),
        }
        self._of: dict[int, Any] = {}

    @property
    def variables(self) -> list[Any]:
        return list(self._of.values())

    def build(self, variable: Any, parts: Any) -> None:
        """Makes the average of a variable that has none: a slot begins with zeros, even again."""
        if variable.id not in self._of:
            self._of[variable.id] = variable._slot("ema", 0.0, parts)

    def of(self, variables: Sequence[Any]) -> list[Any]:
        """The averages of these variables."""
        return [self._of[v.id] for v in variables]

    def update(
        self, variables: Sequence[Any], weights: Sequence[Any], step: Any, commit: Any
    ) -> list[Any]:
        """Moves the averages on by the new `weights`; `step` is 1 in the first one.

        Returns:
            The weights, which the averages may have replaced.
        """
        slots = self.of(variables)
        results = _ops.ema_update(slots, list(weights), step, commit, **self._attributes)
        for target, value in zip(slots, results[: len(slots)], strict=True):
            target._assign_decided(value, commit)
        return list(results[len(slots) :])

    def overwrite(self, kind: str, variables: Sequence[Any]) -> None:
        """Assigns the averages to the weights."""
        if _native.current_trace() is not None:
            raise ValueError(
                at_line(
                    f"{kind}: averages replace weights between steps only; call it outside "
                    "compiled functions"
                )
            )
        for v in variables:
            if v.id not in self._of:
                raise ValueError(
                    at_line(
                        f"{kind}: there is no average of '{v.name}', which this optimizer never "
                        "changed; give the variables that it trains"
                    )
                )
        for v in variables:
            v.assign(self._of[v.id].value())

    @contextmanager
    def swapped_in(self, kind: str, variables: Sequence[Any]) -> Iterator[None]:
        """The averages stand in the weights within."""
        before = [(v, v.value()) for v in variables]
        self.overwrite(kind, variables)
        try:
            yield
        finally:
            for v, value in before:
                v.assign(value)
