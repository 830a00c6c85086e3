# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.gpu.bench`: training steps on the GPU beside PyTorch, in one run.

Everybody takes turns, one window each; figures are medians of the windows. PyTorch runs eagerly,
compiled, and as a CUDA graph of its whole step. Also: memory-bound groups against the bandwidth of
a copy, and our larger steps alone: seconds of the first step and of those after it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu import steps
from benchmarks.gpu.record import ROOT, Record

WINDOWS, SECONDS = 7, 0.25
Run = Callable[[int], None]  # so many steps, waited for


def take_turns(runs: dict[str, Run]) -> dict[str, float]:
    """Median seconds of a step of each."""
    counts, windows = {}, {name: [] for name in runs}  # type: dict[str, int], dict[str, list[float]]
    for name, run in runs.items():
        run(20)
        begin = time.perf_counter()
        run(20)
        counts[name] = max(5, int(SECONDS * 20 / (time.perf_counter() - begin)))
    for turn in range(WINDOWS):
        names = list(runs)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            begin = time.perf_counter()
            runs[name](counts[name])
            windows[name].append((time.perf_counter() - begin) / counts[name])
    return {name: statistics.median(times) for name, times in windows.items()}


def ours(step: Any, batch: tuple[Any, ...]) -> Run:
    """Steps on a batch that lies on the device."""
    import ostria as ost

    there = [ost.to_device(ost.asarray(a), "cuda") for a in batch]

    def run(count: int) -> None:
        for _ in range(count):
            step(*there)
        ost.synchronize("cuda")

    return run


def torch_modes(make: Callable[[], Any], batch: tuple[Any, ...]) -> dict[str, Run]:
    """A module trained with Adam: eager, compiled, and the whole step as one graph."""
    import torch
    import torch.nn.functional as F

    x, y = (torch.from_numpy(np.asarray(a)).cuda() for a in batch)

    def waited(step: Callable[[], Any]) -> Run:
        def run(count: int) -> None:
            for _ in range(count):
                step()
            torch.cuda.synchronize()

        return run

    def trained(module: Any, forward: Any) -> Callable[[], Any]:
        optimizer = torch.optim.Adam(module.parameters(), 1e-3, fused=True, capturable=True)

        def step() -> Any:
            optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(forward(x), y)
            loss.backward()
            optimizer.step()
            return loss

        return step

    module = make().cuda()
    modes = {"torch eager": waited(trained(module, module))}
    compiled = make().cuda()
    modes["torch compile"] = waited(trained(compiled, torch.compile(compiled)))
    captured = make().cuda()
    step = trained(captured, captured)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(5):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    modes["torch graph"] = waited(graph.replay)
    return modes


def torch_mlp() -> Any:
    """The MLP of `steps`."""
    from torch import nn

    layers = [nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)]
    return nn.Sequential(*layers)


def launch_bound(record: Record) -> None:
    """The MLP, whose kernels are short."""
    step, batch = steps.mlp("cuda")
    steps.losses(step, batch, 3)
    seconds = take_turns({"ostria": ours(step, batch), **torch_modes(torch_mlp, batch)})
    result: dict[str, Any] = {name: f"{1e6 * s:.1f} us" for name, s in seconds.items()}
    for name, s in seconds.items():
        if name != "ostria":
            result[f"{name} / ostria"] = round(s / seconds["ostria"], 2)
    record.set("mlp batch 128, a step", result)
    record.ran("timed", "models", ["mlp"])


def memory_bound(record: Record) -> None:
    """Bytes read and written per second by one fused group, against a copy of the same size."""
    import torch

    import ostria as ost

    rows, columns = 32768, 1024
    source = torch.randn(rows * columns, device="cuda")
    target = torch.empty_like(source)

    def copies(count: int) -> None:
        for _ in range(count):
            target.copy_(source)
        torch.cuda.synchronize()

    x = ost.to_device(
        np.random.default_rng(0).normal(size=(rows, columns)).astype(np.float32), "cuda"
    )
    ones = ost.to_device(np.ones(columns, np.float32), "cuda")
    groups = {
        "gelu(x + b)": lambda: ost.compile(lambda x, b: ost.gelu(x + b), device="cuda"),
        "softmax": lambda: ost.compile(lambda x, b: ost.softmax(x), device="cuda"),
        "layer_norm": lambda: ost.compile(lambda x, b: ost.layer_norm(x, b, b), device="cuda"),
    }
    for name, make in groups.items():
        try:
            fn = make()
            fn(x, ones)

            def run(count: int, fn: Any = fn) -> None:
                for _ in range(count):
                    fn(x, ones)
                ost.synchronize("cuda")

            profile = (
                {row[0]: row[4] for row in fn.profile(x, ones)} if hasattr(fn, "profile") else {}
            )
            seconds = take_turns({"ours": run, "copy": copies})
            # A call also copies its input and its result, which a step of many groups does not.
            record.set(
                f"{name} of float32 [{rows}, {columns}]",
                {
                    "call_us": round(1e6 * seconds["ours"], 1),
                    "copy_us": round(1e6 * seconds["copy"], 1),
                    "node_ns": profile,
                },
            )
        except Exception as error:
            record.set(name, {"error": str(error)[:500]})


def measure_large(name: str) -> dict[str, Any]:
    """One published network in this process."""
    import ostria as ost
    from benchmarks.models import gpu

    workload = next(w for w in gpu.WORKLOADS if w.name == name)
    begin = time.perf_counter()
    with ost.device("cuda"):
        step, inputs = workload.make(workload.batch)
        rng = np.random.default_rng(0)
        given = [
            rng.normal(size=shape).astype(np.float32)
            if dtype == "float32"
            else rng.integers(0, 10, shape).astype(dtype)
            for shape, dtype in inputs
        ]
        first = float(step(*given).item())
        began = time.perf_counter()
        step(*given).item()
        second = time.perf_counter() - began
        count = max(3, min(50, int(3 / max(second, 1e-3))))
        run = ours(step, tuple(given))
        run(2)
        begin_steps = time.perf_counter()
        run(count)
        each = (time.perf_counter() - begin_steps) / count
        last = float(step(*given).item())
    return {
        "step_ms": round(1e3 * each, 3),
        "items_per_s": round(workload.batch / each, 1),
        "first_step_s": round(began - begin, 2),
        "loss": [first, last],
    }


def large(record: Record) -> None:
    """Our own steps of published networks, a process each: seconds of the first and of a later."""
    from benchmarks.models import gpu

    for workload in gpu.WORKLOADS:
        command = [sys.executable, "-m", "benchmarks.gpu.bench", "--network", workload.name]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        label = f"{workload.name} {workload.precision} batch {workload.batch}"
        if done.returncode != 0:
            words = done.stderr.strip().splitlines() or ["died without a word"]
            record.set(label, {"error": words[-1][:800]})
            continue
        result = json.loads(done.stdout.strip().splitlines()[-1])
        record.set(label, result)
        if np.isfinite(result["loss"][1]):
            record.ran("timed", "models", [workload.name])


def main() -> int:
    """Measures and writes the record."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu.bench")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--commit", default="")
    parser.add_argument("--only", action="append", choices=["mlp", "groups", "large"])
    parser.add_argument("--network", help="one published network, its figures on the last line")
    arguments = parser.parse_args()
    if arguments.network:
        print(json.dumps(measure_large(arguments.network)))
        return 0
    folder = ROOT / "benchmarks/results/gpu"
    path = arguments.output or folder / f"{time.strftime('%Y-%m-%d')}-bench.json"
    record = Record(path, "bench", arguments.commit)
    for name, measure in (("mlp", launch_bound), ("groups", memory_bound), ("large", large)):
        if arguments.only is None or name in arguments.only:
            measure(record)
    return 0


if __name__ == "__main__":
    sys.exit(main())
