# SPDX-License-Identifier: Apache-2.0
"""The parent: alternates windows between workers, of which only one is active at a time.

For each workload and batch size all modes of all frameworks live side by side and take turns
A B C A B C, each round starting one further on, so a change of the machine's speed hits them alike.
"""

from __future__ import annotations

import json
import math
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks import machine, stats
from benchmarks.suites import Suite

TIMEOUT = 600.0  # seconds for one answer; torch.compile's first step takes the longest
TOLERANCE = 2e-3  # relative, of losses after 32 steps in float32; all within 1e-3 when measured
LOAD_WARNING = 0.5  # cores that others kept busy
HOPELESS = 8.0  # times slower than another mode of its framework: one window shows it

Say = Callable[[str], None]


@dataclass
class Protocol:
    """How long to measure."""

    windows: int = 9
    seconds: float = 1.2
    processes: int = 7

    @staticmethod
    def quick() -> Protocol:
        """For a first look: still enough windows for a median."""
        return Protocol(windows=5, seconds=0.3, processes=5)


class WorkerError(RuntimeError):
    """A worker failed; the text says why."""


def _environment(cache: str) -> dict[str, str]:
    extra = {
        "OSTRIA_BENCH_CACHE": cache,
        "TORCHINDUCTOR_CACHE_DIR": os.path.join(cache, "inductor"),
    }
    path = os.pathsep.join(p for p in (str(machine.ROOT), os.environ.get("PYTHONPATH")) if p)
    return {**os.environ, **machine.environment(), **extra, "PYTHONPATH": path}


class Worker:
    """A live child process (benchmarks/worker.py)."""

    def __init__(self, suite: Suite, framework: str, mode: str, batch: int, cache: str):
        self.suite, self.framework, self.mode, self.batch = suite, framework, mode, batch
        self._log = tempfile.TemporaryFile("w+")
        command = [
            sys.executable,
            "-m",
            "benchmarks.worker",
            suite.workload,
            framework,
            mode,
            str(batch),
        ]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=_environment(cache),
        )
        self.windows: list[float] = []
        self.step_seconds = 0.0
        self.other_cores: list[float] = []
        self.peak_rss_mb = 0.0
        self.steps = 0
        self.first: dict[str, Any] = {}

    @property
    def name(self) -> str:
        return f"{self.framework} ({self.mode})"

    def answer(self) -> dict[str, Any]:
        """The worker's next line."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], TIMEOUT)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            why = f"no answer within {TIMEOUT:.0f} s" if not ready else "died"
            raise WorkerError(f"{why}; its last words: {self._last_words()}")
        data: dict[str, Any] = json.loads(line)
        if "error" in data:
            raise WorkerError(data["error"])
        return data

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().splitlines() if line.strip()]
        return lines[-1] if lines else "none"

    def run(self, steps: int) -> dict[str, Any]:
        """`steps` steps."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"steps": steps}) + "\n")
        self._process.stdin.flush()
        return self.answer()

    def calibrate(self, seconds: float) -> None:
        """Warms up and finds how many steps take `seconds`."""
        steps = self.stride
        while (took := self.run(steps)["seconds"]) < seconds / 4:
            steps = self._whole(steps * min(10.0, max(2.0, seconds / 3 / max(took, 1e-6))))
        self.steps = self._whole(steps * seconds / took)
        self.step_seconds = took / steps

    @property
    def stride(self) -> int:
        return int(self.first["stride"])

    def _whole(self, steps: float) -> int:
        return max(1, math.ceil(steps / self.stride)) * self.stride

    def window(self) -> None:
        """One measured window."""
        busy, begin = machine.cpu_ticks()
        answer = self.run(self.steps)
        busy_after, end = machine.cpu_ticks()
        if not math.isfinite(answer["loss"]):
            raise WorkerError(f"the loss became {answer['loss']}")
        self.windows.append(self.suite.value(self.steps, answer["seconds"], self.batch))
        if end > begin:
            others = (busy_after - busy - answer["cpu_seconds"]) / (end - begin)
            self.other_cores.append(max(0.0, others))
        self.peak_rss_mb = max(self.peak_rss_mb, answer["peak_rss_mb"])

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                stream.close()


def _record(
    suite: Suite, framework: str, mode: str, batch: int, windows: list[float]
) -> dict[str, Any]:
    return {
        "workload": suite.workload,
        "framework": framework,
        "mode": mode,
        "batch": batch,
        "metric": suite.metric,
        **stats.summary(windows),
        "first_step_s": None,
        "peak_rss_mb": None,
        "final_loss": None,
        "windows": windows,
        "load_average": os.getloadavg()[0],
        "other_cores": None,
    }


def _hopeless(workers: list[Worker]) -> list[Worker]:
    """Workers that cannot be the best mode of their framework, by far."""
    best: dict[str, float] = {}
    for worker in workers:
        seconds = best.get(worker.framework, math.inf)
        best[worker.framework] = min(seconds, worker.step_seconds)
    return [w for w in workers if w.step_seconds > HOPELESS * best[w.framework]]


class Run:
    """Collects records and what had to be left out."""

    def __init__(self, protocol: Protocol, frameworks: list[str], say: Say):
        self.protocol, self.frameworks, self._say = protocol, frameworks, say
        self.records: list[dict[str, Any]] = []
        self.failures: list[dict[str, str]] = []
        self.warnings: list[str] = []
        self._folder = tempfile.TemporaryDirectory(prefix="ostria-bench-")

    def _fail(self, suite: Suite, framework: str, mode: str, batch: int, why: str) -> None:
        case = f"{suite.workload} batch {batch} {framework} ({mode})"
        self._say(f"  left out: {case}: {why}")
        self.failures.append({"case": case, "reason": why})

    def measure(self, suite: Suite, only: list[int] | None = None) -> None:
        """All batch sizes of a suite, or those also in `only`."""
        for batch in suite.batches:
            if only and batch not in only:
                continue
            self._say(f"{suite.workload} batch {batch}")
            if suite.single:
                self._single(suite, batch)
            elif suite.process:
                self._processes(suite, batch)
            else:
                self._alternate(suite, batch)

    def _alternate(self, suite: Suite, batch: int) -> None:
        workers: list[Worker] = []

        def drop(worker: Worker, error: Exception) -> None:
            self._fail(suite, worker.framework, worker.mode, batch, str(error))
            worker.close()
            workers.remove(worker)

        try:
            for framework, mode in suite.cases(self.frameworks):
                worker = Worker(suite, framework, mode, batch, self._folder.name)
                workers.append(worker)
                try:
                    worker.first = worker.answer()
                    worker.calibrate(self.protocol.seconds)
                except (WorkerError, OSError) as error:
                    drop(worker, error)
            hopeless = _hopeless(workers)
            for turn in range(self.protocol.windows):
                order = (
                    workers[turn % len(workers) :] + workers[: turn % len(workers)]
                    if workers
                    else []
                )
                for worker in order:
                    if turn > 0 and worker in hopeless:
                        continue
                    time.sleep(0.02)  # lets the last one's spinning threads fall asleep
                    try:
                        worker.window()
                    except (WorkerError, OSError) as error:
                        drop(worker, error)
            records = []
            for w in workers:
                record = _record(suite, w.framework, w.mode, batch, w.windows)
                record |= {
                    "first_step_s": w.first["first_step_s"],
                    "peak_rss_mb": w.peak_rss_mb,
                    "final_loss": w.first["final_loss"],
                    "other_cores": stats.percentile(w.other_cores, 0.5) if w.other_cores else None,
                }
                records.append(record)
            self._add(suite, records)
        finally:
            for worker in workers:
                worker.close()

    def _processes(self, suite: Suite, batch: int) -> None:
        cases = suite.cases(self.frameworks)
        times: dict[tuple[str, str], list[float]] = {case: [] for case in cases}
        answers: dict[tuple[str, str], dict[str, Any]] = {}
        for turn in range(-1, self.protocol.processes):  # the first turn warms caches
            for framework, mode in cases[turn % len(cases) :] + cases[: turn % len(cases)]:
                if (framework, mode) not in times:
                    continue
                answer, seconds = self._spawn(suite, framework, mode, batch)
                if "error" in answer:
                    del times[framework, mode]
                    self._fail(suite, framework, mode, batch, answer["error"])
                    continue
                answers[framework, mode] = answer
                if turn >= 0:
                    times[framework, mode].append(seconds)
        records = []
        for (framework, mode), windows in times.items():
            record = _record(suite, framework, mode, batch, windows)
            answer = answers[framework, mode]
            record |= {"final_loss": answer["final_loss"], "peak_rss_mb": answer["peak_rss_mb"]}
            records.append(record)
        self._add(suite, records)

    def _spawn(
        self, suite: Suite, framework: str, mode: str, batch: int
    ) -> tuple[dict[str, Any], float]:
        """A fresh process's answer, and the seconds from its start to that line."""
        command = [
            sys.executable,
            "-m",
            "benchmarks.worker",
            suite.workload,
            framework,
            mode,
            str(batch),
        ]
        environment = _environment(self._folder.name)
        begin = time.perf_counter()
        with tempfile.TemporaryFile("w+") as log:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
            )
            assert process.stdout is not None
            with process.stdout:
                line = process.stdout.readline()
            seconds = time.perf_counter() - begin
            process.wait()
            log.seek(0)
            words = log.read().strip().splitlines() or ["died without a word"]
        answer: dict[str, Any] = json.loads(line) if line else {"error": words[-1]}
        return answer, seconds

    def _single(self, suite: Suite, batch: int) -> None:
        for framework, mode in suite.cases(self.frameworks):
            worker = Worker(suite, framework, mode, batch, self._folder.name)
            try:
                for workload, label, size, metric, values in worker.answer()["figures"]:
                    record = _record(suite, framework, label, size, values)
                    self._add(suite, [record | {"workload": workload, "metric": metric}])
            except (WorkerError, OSError) as error:
                self._fail(suite, framework, mode, batch, str(error))
            finally:
                worker.close()

    def _add(self, suite: Suite, records: list[dict[str, Any]]) -> None:
        for record in records:
            stats.check_record(record)
            text = f"{record['framework']} ({record['mode']})"
            if record["metric"] != suite.metric:  # one of many figures of a single suite
                text = f"{record['workload']} ({record['mode']}, {record['batch']})"
            unit, others = record["metric"], record["other_cores"]
            note = ""
            if others is not None and others > LOAD_WARNING:
                note = f" other processes kept {others:.1f} cores busy"
                self.warnings.append(f"{record['workload']} batch {record['batch']} {text}:{note}")
            self._say(f"  {text:36} {stats.number(record['median']):>9} {unit}{note}")
        for problem in stats.same_losses(records, TOLERANCE):
            self._say(f"  WRONG LOSS: {problem}")
            self.failures.append({"case": "loss", "reason": problem})
        self.records += records

    def close(self) -> None:
        """Removes what peers compiled."""
        self._folder.cleanup()
