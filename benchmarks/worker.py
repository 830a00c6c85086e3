# SPDX-License-Identifier: Apache-2.0
"""The child process: one framework, one mode, one batch size, driven over stdin and stdout.

Every line in either direction is a JSON object. The worker computes only between a command and its
answer, so of many workers alive only one is active. Whatever libraries print goes to stderr.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import traceback
from typing import Any, Protocol

from benchmarks import machine, suites


class Job(Protocol):
    """What a worker measures."""

    stride: int  # steps per call
    check_steps: int  # after how many steps losses are compared

    def advance(self, steps: int) -> float:
        """Does `steps` (a multiple of stride) steps, waits, returns the last one's loss."""


def _peak_rss_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _serve(job: Job, first: dict[str, Any], channel: Any) -> None:
    print(json.dumps(first), file=channel, flush=True)
    for line in sys.stdin:
        steps = int(json.loads(line)["steps"])
        cpu, begin = time.process_time(), time.perf_counter()
        loss = job.advance(steps)
        seconds = time.perf_counter() - begin
        answer = {
            "seconds": seconds,
            "cpu_seconds": time.process_time() - cpu,
            "loss": loss,
            "peak_rss_mb": _peak_rss_mb(),
        }
        print(json.dumps(answer), file=channel, flush=True)


def main(workload: str, framework: str, mode: str, batch: int) -> None:
    """Makes the job, does its first and its checked steps, then waits for windows."""
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a library that prints must not spoil the answers
    os.sched_setaffinity(0, machine.cores())
    suite = suites.find(workload)
    try:
        if suite.single:
            print(
                json.dumps({"figures": suite.make(framework, mode, batch)}),
                file=channel,
                flush=True,
            )
            return
        if suite.process:
            answer = {
                "final_loss": suite.make(framework, mode, batch),
                "peak_rss_mb": _peak_rss_mb(),
            }
            print(json.dumps(answer), file=channel, flush=True)
            return
        job: Job = suite.make(framework, mode, batch)
        begin = time.perf_counter()
        loss = job.advance(job.stride)
        first_step = time.perf_counter() - begin
        if job.check_steps > job.stride:
            loss = job.advance(job.check_steps - job.stride)
        _serve(job, {"first_step_s": first_step, "final_loss": loss, "stride": job.stride}, channel)
    except Exception as error:
        traceback.print_exc()
        text = str(error).strip().splitlines() or ["no message"]
        print(json.dumps({"error": f"{type(error).__name__}: {text[0]}"}), file=channel, flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
