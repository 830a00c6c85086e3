# SPDX-License-Identifier: Apache-2.0
"""How Ostria's costs grow: with the batch, the depth, the number of weights, the size of a graph.

A curve is one workload whose records differ in `batch`, here the size on the horizontal axis;
`<curve>_growth` is the slope of its logarithms over the larger half of the sizes, where what is
constant no longer counts. Every step trains, with Adam.

step_batch       784-256-256-10, examples per step
step_depth       dense layers of 64, 32 examples; from 2 to 512 of them
step_parameters  three square dense layers, 32 examples; their weights
trace_depth      trace and plan of the steps of step_depth: the first call, less a later one
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.suites import Suite

Figures = list[tuple[str, str, int, str, list[float]]]
CURVES = ("step_batch", "step_depth", "step_parameters", "trace_depth")
BATCHES = (1, 4, 16, 64, 256, 1024, 4096)
DEPTHS = (2, 4, 8, 16, 32, 64, 128, 256, 512)
WIDTHS = (16, 32, 64, 128, 256, 512, 1024)
WINDOWS, SECONDS, REPEATS = 5, 0.1, 3


def make(framework: str, mode: str, batch: int) -> Figures:
    """Every figure: (workload, mode, size, metric, values)."""
    from benchmarks.models import mlp

    figures: Figures = []
    for size in BATCHES:
        job = mlp.make("ostria", "compile", size, pool=1)
        job.advance(1)
        figures.append(("step_batch", "mlp", size, "us/step", _times(job.step, *job.example())))
    for depth in DEPTHS:
        calls = [_first_call(depth, 64) for _ in range(REPEATS)]
        _, step, batch_of = calls[-1]
        times = _times(step, *batch_of)
        figures.append(("step_depth", "dense", depth, "us/step", times))
        plans = [max(seconds * 1e6 - min(times), 1e-3) for seconds, _, _ in calls]
        figures.append(("trace_depth", "dense", depth, "us", plans))
    for width in WIDTHS:
        _, step, batch_of = _first_call(3, width)
        times = _times(step, *batch_of)
        weights = 3 * width * (width + 1)
        figures.append(("step_parameters", "dense", weights, "us/step", times))
    return [*figures, *exponents(figures)]


def exponents(figures: Figures) -> Figures:
    """The slope of the upper half of each curve."""
    from benchmarks.stats import growth_exponent, percentile

    slopes: Figures = []
    for curve in CURVES:
        points = [f for f in figures if f[0] == curve]
        points = points[len(points) // 2 :]
        sizes: Sequence[float] = [f[2] for f in points]
        slope = growth_exponent(sizes, [percentile(f[4], 0.5) for f in points])
        slopes.append((f"{curve}_growth", points[-1][1], points[-1][2], "exponent", [slope]))
    return slopes


def _first_call(depth: int, width: int) -> tuple[float, Any, tuple[Any, Any]]:
    """(seconds of a step's first call, the step, its batch) for `depth` layers of `width`."""
    import ostria as ost
    from benchmarks.models.train_ostria import classifier, make_step

    rng = np.random.default_rng(depth)
    x = ost.asarray(rng.random((32, width), dtype=np.float32))
    y = ost.asarray(rng.integers(0, width, 32).astype(np.int32))
    nn = ost.nn
    model = nn.Sequential([nn.Dense(width, "relu") for _ in range(depth)])
    model(x)
    step = make_step(model, classifier(model))
    begin = time.perf_counter()
    step(x, y)
    return time.perf_counter() - begin, step, (x, y)


def _times(step: Any, x: Any, y: Any) -> list[float]:
    """Microseconds of a step, in windows."""
    begin = time.perf_counter()
    step(x, y)
    calls = max(3, int(SECONDS / (time.perf_counter() - begin)))
    windows = []
    for _ in range(WINDOWS):
        begin = time.perf_counter()
        for _ in range(calls):
            step(x, y)
        windows.append((time.perf_counter() - begin) / calls * 1e6)
    return windows


SUITES = [Suite("growth", "-", {"ostria": ["compile"]}, make, single=True)]
