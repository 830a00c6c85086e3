# SPDX-License-Identifier: Apache-2.0
"""Checks as processes: each has a time limit, and one that crashes or hangs takes nothing with it.

A `Job` is a command; what it printed becomes a list of findings, which go into the record as they
come. A finding that is wrong holds the whole text of what was wrong.
"""

from __future__ import annotations

import concurrent.futures
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from benchmarks.gpu.record import ROOT, Record

GRACE = 15.0  # seconds that what runs at the deadline may take
# Many processes share the cores: each does with few threads, and none spins.
SHARED = {"OSTRIA_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
TEXT = 6000  # characters of a failure's text: its beginning and its end


@dataclass(frozen=True)
class Outcome:
    """How a process ended: `status` is None where the time limit ended it."""

    status: int | None
    output: str
    errors: str
    seconds: float

    @property
    def trouble(self) -> str:
        """Why it did not end well; empty where it did."""
        if self.status == 0:
            return ""
        if self.status is None:
            why = f"was stopped after {self.seconds:.0f} s"
        elif self.status < 0:
            why = f"died of {signal.Signals(-self.status).name}"
        else:
            why = f"ended with status {self.status}"
        return f"{why}\n{shortened(self.output + self.errors)}"


def shortened(text: str) -> str:
    """The beginning and the end of a long text."""
    return text if len(text) <= TEXT else f"{text[: TEXT // 3]}\n[...]\n{text[-2 * TEXT // 3 :]}"


def run(command: list[str], seconds: float, environment: dict[str, str]) -> Outcome:
    """The command in a process group of its own, which ends with it."""
    begin = time.monotonic()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd=ROOT,
        env={**os.environ, **SHARED, **environment},
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=seconds)
        status: int | None = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
        status = None
    return Outcome(status, output, errors, time.monotonic() - begin)


def python(module: str, *arguments: str) -> list[str]:
    """A module of this checkout in this Python."""
    return [sys.executable, "-m", module, *arguments]


@dataclass
class Findings:
    """What the checks of one kind found; kept in the record from the first one on."""

    record: Record
    kind: str
    passed: int = 0
    skipped: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name: str, wrong: str = "", skipped: bool = False) -> None:
        """One check's finding."""
        with self.lock:
            if wrong:
                self.failed[name] = shortened(wrong)
                print(f"wrong: {self.kind} {name}: {wrong[:300]}", flush=True)
            elif skipped:
                self.skipped += 1
            else:
                self.passed += 1
            summary = {"passed": self.passed, "skipped": self.skipped, "failed": self.failed}
            self.record.keep(self.kind, summary)


@dataclass(frozen=True)
class Job:
    """A command and what becomes of its end; `after` may hand back further jobs."""

    name: str
    command: list[str]
    seconds: float
    after: Callable[[Outcome], Iterable[Job]]
    environment: dict[str, str] = field(default_factory=dict)


def run_all(jobs: list[Job], at_once: int, deadline: float, late: Findings) -> None:
    """All of them, and those that they hand back, so many at a time, the first ones first.

    What has not begun at `deadline`, in seconds of time.monotonic, does not run: `late` says so.
    """
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:

        def one(job: Job) -> list[Job]:
            left = deadline - time.monotonic()
            if left < 0:
                late.add(job.name, "did not get its turn in time")
                return []
            seconds = min(job.seconds, left + GRACE)
            return list(job.after(run(job.command, seconds, job.environment)))

        waiting = {pool.submit(one, job) for job in jobs}
        while waiting:
            done, waiting = concurrent.futures.wait(
                waiting, return_when=concurrent.futures.FIRST_COMPLETED
            )
            for future in done:
                waiting |= {pool.submit(one, job) for job in future.result()}
