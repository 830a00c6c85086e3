# SPDX-License-Identifier: Apache-2.0
"""One of two ranks that time our all_reduce: TRANSPORT RESULT.json SIZE…, run by `calibrate`.

Of a step with many in a row the time of a step with one is taken off, so that what is left is that
of the others. The least time of each counts: whatever else the machine does only adds to it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import ostria as ost

IN_A_ROW = 9
SECONDS = 0.2  # for each size
REPEATS = (5, 200)


def summed(times: int) -> Callable[[Any], Any]:
    """A function with so many reductions, each of what the one before gave."""

    def run(x: Any) -> Any:
        context = ost.distribute.get_replica_context()
        for _ in range(times):
            x = context.all_reduce("sum", x)
        return x

    return run


def seconds(strategy: Any, count: int) -> float:
    """Of one all_reduce of `count` float32."""
    x = ost.asarray(np.zeros(count, np.float32))
    one, many = strategy.compile(summed(1)), strategy.compile(summed(1 + IN_A_ROW))

    def once(function: Any) -> float:
        begin = time.perf_counter()
        function(x)
        return time.perf_counter() - begin

    for _ in range(3):
        guess = once(one) + once(many)
    everyone = strategy.gather(ost.asarray([guess], dtype="float32"), axis=0)
    largest = float(everyone.numpy().max())
    repeats = min(max(int(SECONDS / largest), REPEATS[0]), REPEATS[1])  # the same on both ranks
    times = [(once(one), once(many)) for _ in range(repeats)]
    return max(min(t[1] for t in times) - min(t[0] for t in times), 1e-9) / IN_A_ROW


def main() -> None:
    transport, result, *sizes = sys.argv[1:]
    with ost.distribute.MultiWorkerMirroredStrategy(transport=transport) as strategy:
        times = [(int(size), seconds(strategy, int(size) // 4)) for size in sizes]
        if strategy.is_chief:
            Path(result).write_text(json.dumps(times))


if __name__ == "__main__":
    main()
