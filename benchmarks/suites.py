# SPDX-License-Identifier: Apache-2.0
"""What is measured: a suite is one workload with its metric, batch sizes and everybody's modes."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

MODULES = (
    "mlp",
    "cnn",
    "resnet18",
    "resnet50",
    "char_gpt",
    "lstm",
    "wide_deep",
    "rows",
    "fused",
    "chain",
    "eager",
    "startup",
    "own",
    "growth",
)


@dataclass(frozen=True)
class Suite:
    """One workload.

    `make(framework, mode, batch)` gives a worker its job; where `process` is set, a fresh process
    is the measurement and `make` runs the job to its end; where `single` is set, one call gives
    finished figures of our own: a list of (workload, mode, size, metric, values).
    """

    workload: str
    metric: str
    modes: dict[str, list[str]]
    make: Callable[[str, str, int], Any]
    batches: list[int] = field(default_factory=lambda: [1])
    images: bool = False  # one step counts `batch` times
    step_bytes: int = 0  # what one step must move, for GB/s
    process: bool = False
    single: bool = False
    curve: bool = False  # `batches` are sizes: how the metric grows with them is a result too
    module: str = ""  # whose suites share their workers; `all_suites` knows it

    def cases(self, frameworks: list[str]) -> list[tuple[str, str]]:
        """(framework, mode) of `frameworks`."""
        return [(f, mode) for f, modes in self.modes.items() if f in frameworks for mode in modes]

    def value(self, steps: int, seconds: float, batch: int) -> float:
        """The metric of `steps` done in `seconds`."""
        if self.metric in ("us/call", "us/step"):
            return seconds / steps * 1e6
        if self.metric == "GB/s":
            return steps * self.step_bytes / seconds / 1e9
        return steps * (batch if self.images else 1) / seconds


def all_suites(only: list[str] | None = None) -> list[Suite]:
    """The suites of the modules named in `only` (a module's or a workload's name), or all.

    Raises:
        ValueError: a name that is neither.
    """
    suites = []
    known = set(MODULES)
    for name in MODULES:
        for suite in importlib.import_module(f"benchmarks.models.{name}").SUITES:
            known.add(suite.workload)
            if only is None or name in only or suite.workload in only:
                suites.append(replace(suite, module=name))
    for name in only or []:
        if name not in known:
            raise ValueError(
                f"--only: '{name}' is not known; accepted are {', '.join(sorted(known))}"
            )
    return suites


def find(workload: str) -> Suite:
    """The suite of a workload."""
    return next(s for s in all_suites() if s.workload == workload)
