# SPDX-License-Identifier: Apache-2.0
"""The child process: one framework in one mode, driven over stdin and stdout.

Every line in either direction is a JSON object: `{"make": [workload, batch]}` makes a job in place
of the last one, `{"steps": n}` runs it. The worker computes only between a command and its answer,
so of many workers alive only one is active. Whatever libraries print goes to stderr. Called with a
workload and a batch it does no more than that one thing.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Protocol

from benchmarks import machine, suites


class Job(Protocol):
    """What a worker measures."""

    stride: int  # steps per call
    check_steps: int  # after how many steps losses are compared

    def advance(self, steps: int) -> float:
        """Does `steps` (a multiple of stride) steps, waits, returns the last one's loss."""


def _peak_rss_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def _forget(framework: str) -> None:
    """Frees the last job, so that the next is measured as if it were the first.

    Left alone, Dynamo would compile the same function for any batch size once it saw a second one.
    """
    if dynamo := sys.modules.get("torch._dynamo"):
        dynamo.reset()
    if framework == "jax":
        sys.modules["jax"].clear_caches()
    gc.collect()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    except OSError:
        pass


def _make(framework: str, mode: str, workload: str, batch: int) -> tuple[Job, dict[str, Any]]:
    """The job after its first and its checked steps, and the answer."""
    job: Job = suites.find(workload).make(framework, mode, batch)
    begin = time.perf_counter()
    loss = job.advance(job.stride)
    first_step = time.perf_counter() - begin
    if job.check_steps > job.stride:
        loss = job.advance(job.check_steps - job.stride)
    return job, {"first_step_s": first_step, "final_loss": loss, "stride": job.stride}


def _run(job: Job, steps: int) -> dict[str, Any]:
    cpu, begin = time.process_time(), time.perf_counter()
    loss = job.advance(steps)
    seconds = time.perf_counter() - begin
    return {
        "seconds": seconds,
        "cpu_seconds": time.process_time() - cpu,
        "loss": loss,
        "peak_rss_mb": _peak_rss_mb(),
    }


def _serve(framework: str, mode: str, say: Any) -> None:
    importlib.import_module(framework)
    say({"ready": True})
    job: Job | None = None
    for line in sys.stdin:
        command = json.loads(line)
        if "make" in command:
            job = None
            _forget(framework)
            job, answer = _make(framework, mode, *command["make"])
        else:
            assert job is not None
            answer = _run(job, int(command["steps"]))
        say(answer)


def _once(framework: str, mode: str, workload: str, batch: int) -> dict[str, Any]:
    suite = suites.find(workload)
    result = suite.make(framework, mode, batch)
    if suite.single:
        return {"figures": result}
    return {"final_loss": result, "peak_rss_mb": _peak_rss_mb()}


def main(framework: str, mode: str, workload: str = "", batch: str = "") -> None:
    """Serves commands, or does one thing."""
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a library that prints must not spoil the answers
    os.sched_setaffinity(0, machine.cores())

    def say(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=channel, flush=True)

    try:
        if workload:
            say(_once(framework, mode, workload, int(batch)))
        else:
            _serve(framework, mode, say)
    except Exception as error:
        traceback.print_exc()
        text = str(error).strip().splitlines() or ["no message"]
        say({"error": f"{type(error).__name__}: {text[0]}"})
        sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
