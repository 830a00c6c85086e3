# SPDX-License-Identifier: Apache-2.0
"""Ours alone, without a peer: executor, trace + plan, memory, optimizer over depth, barriers.

The null device computes nothing, so that what is left is the framework itself. The executor runs a
chain of matrix products, a step each since no pass joins or drops one; a chain of small functions,
which fusion makes few loops of, is traced and planned.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import repeat
from typing import Any

from benchmarks.suites import Suite

Figures = list[tuple[str, str, int, str, list[float]]]
SIZES = (1_000, 5_000, 20_000, 50_000)
DEPTHS = (1, 2, 4, 8, 16, 32)
REPEATS = 5


def make(framework: str, mode: str, batch: int) -> Figures:
    """Every figure: (workload, mode, size, metric, values)."""
    return [*_executor(), *_memory(), *_optimizer(), _fork_join()]


def _fork_join() -> tuple[str, str, int, str, list[float]]:
    """Where the threads' cores share no cache this is several times as long: results differ too."""
    import ostria as ost

    threads = ost._native.num_threads()
    times = [ost._native.fork_join_ns(1000) for _ in range(REPEATS)]
    return ("fork_join", "openmp", threads, "ns", times)


def products(nodes: int) -> Any:
    """A compiled chain of so many matrix products of two inputs."""
    import ostria as ost

    return _chain(ost.matmul, nodes)


def _functions(nodes: int) -> Any:
    import ostria as ost

    return _chain(lambda x, y: ost.tanh(x + y), nodes // 2)


def _chain(link: Callable[[Any, Any], Any], links: int) -> Any:
    import ostria as ost

    def function(x: Any, y: Any) -> Any:
        for _ in range(links):
            x = link(x, y)
        return x

    return ost.compile(function, device="null")


def _executor() -> Figures:
    import ostria as ost
    from benchmarks.stats import growth_exponent, percentile

    x, y = (ost.asarray([[1.0, 2.0], [3.0, 4.0]]) for _ in range(2))
    figures: Figures = []
    medians = []
    for nodes in SIZES:
        build, run = [], []
        for _ in range(REPEATS):
            function = _functions(nodes)
            begin = time.perf_counter()
            function(x, y)
            build.append((time.perf_counter() - begin) / nodes * 1e6)
        function = products(nodes)
        function(x, y)
        for _ in range(REPEATS):
            calls = max(1, 200_000 // nodes)
            begin = time.perf_counter()
            for _ in repeat(None, calls):
                function(x, y)
            run.append((time.perf_counter() - begin) / calls / nodes * 1e9)
        medians.append(percentile(build, 0.5) * nodes)
        figures.append(("executor", "null", nodes, "ns/node", run))
        figures.append(("trace_plan", "null", nodes, "us/node", build))
    slope = growth_exponent(SIZES, medians)
    return [*figures, ("trace_plan_growth", "null", SIZES[-1], "exponent", [slope])]


def _memory() -> Figures:
    from benchmarks.models import cnn, mlp

    figures: Figures = []
    for name, module, batches in (("mlp", mlp, (1, 32, 128, 512)), ("cnn", cnn, (32, 128))):
        for batch in batches:
            job = module.make("ostria", "compile", batch, pool=1)
            plan = job.step.memory_plan(*job.example())
            share = plan["activation_bytes"] / plan["liveness_bytes"]
            figures.append(("peak_over_bound", name, batch, "share", [share]))
    return figures


def _optimizer() -> Figures:
    import numpy as np

    import ostria as ost
    from benchmarks.models.train_ostria import classifier, make_step
    from benchmarks.stats import growth_exponent

    nn = ost.nn
    x = ost.asarray(np.zeros((4, 8), np.float32))
    y = ost.asarray(np.zeros(4, np.int32))
    figures: Figures = []
    counts = []
    for depth in DEPTHS:
        model = nn.Sequential([*(nn.Dense(8, "relu") for _ in range(depth)), nn.Dense(10)])
        model(x)
        step = make_step(model, classifier(model))
        step(x, y)
        counts.append(float(_optimizer_steps(step)))
        figures.append(("optimizer_steps", "adam", depth, "steps", [counts[-1]]))
    slope = growth_exponent(DEPTHS, counts)
    return [*figures, ("optimizer_steps_growth", "adam", DEPTHS[-1], "exponent", [slope])]


def _optimizer_steps(step: Any) -> int:
    """How many steps of the plan update weights."""
    text = step.explain(runs=1)
    costs = text[text.index("cost per node:") : text.index("  graph:")]
    return sum("adam" in line.partition("<")[0].lower() for line in costs.splitlines())


SUITES = [Suite("own", "-", {"ostria": ["null"]}, make, single=True)]
