# SPDX-License-Identifier: Apache-2.0
"""The loop of a job whose framework needs no more than a step function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.models import data


class StepJob:
    """Calls `step(*batch)` with the batches in turn; `read` makes a number of the last result."""

    stride = 1

    def __init__(
        self,
        step: Callable[..., Any],
        batches: Sequence[tuple[Any, ...]],
        check_steps: int = data.POOL,
        read: Callable[[Any], float] = float,
    ):
        self.step, self.check_steps = step, check_steps
        self._batches, self._read, self._at = batches, read, 0

    def advance(self, steps: int) -> float:
        step, batches = self.step, self._batches
        result: Any = None
        for i in range(self._at, self._at + steps):
            result = step(*batches[i % len(batches)])
        self._at += steps
        return self._read(result)

    def example(self) -> tuple[Any, ...]:
        """One batch, for `step.explain` and `step.memory_plan`."""
        return self._batches[0]


def sample(result: Any) -> float:
    """The mean size of a result's elements, of so few that it costs no time."""
    values = np.asarray(result).reshape(-1)
    return float(np.abs(values[:: max(1, values.size // 4096)], dtype=np.float64).mean())


def batches_of(
    arrays: Sequence[np.ndarray], convert: Callable[[Any], Any]
) -> list[tuple[Any, ...]]:
    """Arrays [pool, batch, ...] as `pool` tuples of a framework's tensors."""
    return [tuple(convert(a) for a in batch) for batch in zip(*arrays, strict=True)]
