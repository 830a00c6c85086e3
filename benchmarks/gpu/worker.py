# SPDX-License-Identifier: Apache-2.0
"""The child process of `turns`: one framework on one device, driven by lines of JSON.

`{"make": {...}}` makes the job of one case in one mode, `{"steps": n, "mode": m}` runs it,
`{"profile": n}` times the nodes of ours. Jobs of one case stay, so that a mode can be run again;
PyTorch's step as a graph is made of the one that was run without.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import subprocess
import sys
import time
import traceback
from typing import Any

from benchmarks.gpu import kernels
from benchmarks.models import gpu, target

NODES = 25  # of a profile


def nodes(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The costliest nodes of a profile, alone and by kind, in microseconds."""
    total = sum(row["ns"] for row in rows)
    kinds: dict[str, list[float]] = {}
    for row in rows:
        kinds.setdefault(f"{row['op']} <{row['impl']}> {row['detail']}".strip(), []).append(
            row["ns"] / 1e3
        )
    ordered = sorted(kinds.items(), key=lambda kind: -sum(kind[1]))
    longest = sorted(rows, key=lambda row: -row["ns"])[:NODES]
    return {
        "nodes": len(rows),
        "sum_us": round(total / 1e3, 1),
        "by_kind": [[name, len(us), round(sum(us), 1)] for name, us in ordered[:NODES]],
        "longest": [
            [row["op"], row["impl"], row["detail"], row["line"], round(row["ns"] / 1e3, 1)]
            for row in longest
        ],
    }


def _memory_of_process() -> float | None:
    command = ["nvidia-smi", "--query-compute-apps=pid,used_memory"]
    command.append("--format=csv,noheader,nounits")
    try:
        lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
        used = {int(pid): float(mb) for pid, mb in (line.split(", ") for line in lines)}
    except (OSError, ValueError):
        return None
    return used.get(os.getpid())


class Server:
    """Answers commands."""

    def __init__(self, framework: str, device: str) -> None:
        self.framework, self.device = framework, device
        self._jobs: dict[str, Any] = {}
        self._case: Any = None
        module = importlib.import_module(framework)
        if framework == "jax" and device != "cpu":
            module.devices("cuda")
        if framework == "torch" and device != "cpu":
            module.zeros(1, device=device)

    def make(self, case: str, batch: int, mode: str, precision: str, tiny: bool) -> dict[str, Any]:
        """The job after its first and its checked steps: seconds, losses, memory."""
        target.use(self.device, precision)
        if self._case != (case, batch):
            self._forget()
            self._case = (case, batch)
        self._reset_peak()
        begin = time.perf_counter()
        job = self._job(case, batch, mode, precision, tiny)
        made = time.perf_counter()
        losses = [job.advance(1)]
        first = time.perf_counter() - made
        losses += [job.advance(1) for _ in range(job.check_steps - 1)]
        self._jobs[mode] = job
        return {
            "make_s": round(made - begin, 2),
            "first_step_s": round(first, 3),
            "timed_as": getattr(job, "how", "steps"),
            "losses": [float(f"{loss:.7g}") for loss in losses],
            **self._memory(job),
        }

    def _job(self, case: str, batch: int, mode: str, precision: str, tiny: bool) -> Any:
        if case in kernels.NAMES:
            return kernels.make(case, self.framework, mode, batch, tiny)
        if self.framework == "torch":
            from benchmarks.models import train_torch

            base, captured = train_torch.how(mode)
            if captured and base in self._jobs:
                return self._jobs[base].captured()
        if precision == "float32" and self.framework == "jax":
            importlib.import_module("jax").config.update("jax_default_matmul_precision", "float32")
        return gpu.find(case).job(self.framework, mode, batch, tiny)

    def _forget(self) -> None:
        self._jobs.clear()
        if dynamo := sys.modules.get("torch._dynamo"):
            dynamo.reset()
        if self.framework == "jax":
            sys.modules["jax"].clear_caches()
        gc.collect()
        if self.framework == "torch" and self.device != "cpu":
            sys.modules["torch"].cuda.empty_cache()

    def _reset_peak(self) -> None:
        if self.framework == "torch" and self.device != "cpu":
            sys.modules["torch"].cuda.reset_peak_memory_stats()

    def _memory(self, job: Any) -> dict[str, Any]:
        """Megabytes: what the framework says it used at most, what the driver says it holds."""
        peak = None
        if self.framework == "ostria":
            plan = job.step.memory_plan(*job.example())
            peak = plan["peak_bytes"] / 2**20
        elif self.device != "cpu" and self.framework == "torch":
            peak = sys.modules["torch"].cuda.max_memory_allocated() / 2**20
        elif self.device != "cpu" and self.framework == "jax":
            stats = sys.modules["jax"].devices()[0].memory_stats() or {}
            peak = stats.get("peak_bytes_in_use", 0) / 2**20
        return {"peak_mb": peak and round(peak, 1), "held_mb": _memory_of_process()}

    def run(self, mode: str, steps: int) -> dict[str, Any]:
        """Seconds of so many steps, after one that is not timed: others ran in between."""
        job = self._jobs[mode]
        if hasattr(job, "timed"):
            return {"seconds": job.timed(steps), "loss": 0.0}
        job.advance(1)
        begin = time.perf_counter()
        loss = job.advance(steps)
        return {"seconds": time.perf_counter() - begin, "loss": loss}

    def profile(self, mode: str, runs: int) -> dict[str, Any]:
        """Nodes of our plan, and the plan's bytes."""
        job = self._jobs[mode]
        plan = job.step.memory_plan(*job.example())
        found = {"plan": plan, **nodes(job.step.profile(*job.example(), runs=runs))}
        if hasattr(job, "timed"):
            found["empty_node_us"] = round(kernels.empty_node_us(), 2)
        return found


def serve(server: Server, say: Any) -> None:
    """Until stdin ends."""
    say({"ready": True})
    for line in sys.stdin:
        command = json.loads(line)
        if "make" in command:
            say(server.make(**command["make"]))
        elif "profile" in command:
            say(server.profile(command["mode"], command["profile"]))
        else:
            say(server.run(command["mode"], command["steps"]))


def main(framework: str, device: str) -> None:
    """Serves commands; what fails is the last answer."""
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a library that prints must not spoil the answers

    def say(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=channel, flush=True)

    try:
        serve(Server(framework, device), say)
    except Exception as error:
        traceback.print_exc()
        text = str(error).strip() or "no message"
        where = traceback.format_exc()[-800:]
        say({"error": f"{type(error).__name__}: {text[:1200]}\n{where}"})
        sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
