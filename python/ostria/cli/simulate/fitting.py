# SPDX-License-Identifier: Apache-2.0
"""Least squares of two terms that cannot be negative: latency and rate, or a cost per rank and per
pair of ranks. Errors are relative, so that small measurements count as much as large ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Fit(NamedTuple):
    """y is about `first` times one term and `second` times the other; `error` is the largest
    relative one."""

    first: float
    second: float
    error: float


def fit(
    points: Sequence[tuple[int, float]], f: Callable[[int], float], g: Callable[[int], float]
) -> Fit:
    """The best `first` f(x) + `second` g(x) through points (x, y), of y above 0."""
    rows = [(f(x) / y, g(x) / y) for x, y in points]
    ff, fg, gg = (math.fsum(r[i] * r[j] for r in rows) for i, j in ((0, 0), (0, 1), (1, 1)))
    sf, sg = (math.fsum(r[i] for r in rows) for i in (0, 1))
    candidates = [(sf / ff, 0.0), (0.0, sg / gg)]  # one term alone
    determinant = ff * gg - fg * fg
    if determinant > 1e-12 * ff * gg:
        candidates.append(((sf * gg - sg * fg) / determinant, (sg * ff - sf * fg) / determinant))

    def errors(pair: tuple[float, float]) -> list[float]:
        return [abs(pair[0] * r[0] + pair[1] * r[1] - 1) for r in rows]

    best = min(
        (pair for pair in candidates if min(pair) >= 0),
        key=lambda pair: math.fsum(e * e for e in errors(pair)),
    )
    return Fit(*best, max(errors(best)))
