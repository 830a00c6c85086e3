# SPDX-License-Identifier: Apache-2.0
"""The parent: alternates windows between workers, of which only one is active at a time.

A worker is a process for one mode of one framework; it serves all workloads and batch sizes of a
module of benchmarks/models, one after another. For each of these all modes take turns A B C A B C,
each round starting one further on, so a change of the machine's speed hits them alike. Two short
windows of every mode come first; only those that can decide a ratio (`stats.contenders`) get the
full number, the records of the others say `probed`.
"""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from benchmarks import machine, stats
from benchmarks.child import Child, WorkerError
from benchmarks.suites import Suite

TOLERANCE = 2e-3  # relative, of losses after 32 steps in float32; all within 1e-3 when measured
LOAD_WARNING = 0.5  # cores that others kept busy

Say = Callable[[str], None]


@dataclass
class Protocol:
    """How long to measure."""

    probes: int = 2
    probe_seconds: float = 0.25
    windows: int = 9
    seconds: float = 0.5  # of a window, or more for steps of which that would hold few
    steps: int = 16
    longest: float = 1.2
    processes: int = 7

    def window_seconds(self, step_seconds: float) -> float:
        """The length of a window of steps that take `step_seconds`."""
        return min(self.longest, max(self.seconds, self.steps * step_seconds))

    @staticmethod
    def quick() -> Protocol:
        """For a first look: still enough windows for a median."""
        return Protocol(probe_seconds=0.05, windows=5, seconds=0.2, longest=0.4, processes=5)


def _environment(cache: str) -> dict[str, str]:
    extra = {
        "OSTRIA_BENCH_CACHE": cache,
        "TORCHINDUCTOR_CACHE_DIR": os.path.join(cache, "inductor"),
    }
    path = os.pathsep.join(p for p in (str(machine.ROOT), os.environ.get("PYTHONPATH")) if p)
    return {**os.environ, **machine.environment(), **extra, "PYTHONPATH": path}


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _command(*arguments: Any) -> list[str]:
    return [sys.executable, "-m", "benchmarks.worker", *(str(a) for a in arguments)]


class Worker(Child):
    """A live child process (benchmarks/worker.py)."""

    def __init__(self, framework: str, mode: str, cache: str, *figures_of: Any):
        self.framework, self.mode = framework, mode
        super().__init__(_command(framework, mode, *figures_of), _environment(cache))

    @property
    def case(self) -> tuple[str, str]:
        return self.framework, self.mode

    def begin(self, suite: Suite, batch: int) -> None:
        """Has the worker make the job of a workload, in place of the one that it had."""
        self.suite, self.batch = suite, batch
        self.peak_rss_mb, self.step_seconds = 0.0, math.inf
        self.forget()
        self.first = self._ask(make=[suite.workload, batch])

    def forget(self) -> None:
        """Drops the windows so far."""
        self.windows: list[float] = []
        self.other_cores: list[float] = []

    def run(self, steps: int) -> dict[str, Any]:
        """`steps` steps."""
        return self._ask(steps=steps)

    def calibrate(self, seconds: float) -> None:
        """Warms up and finds how many steps take `seconds`."""
        steps = self.stride
        while (took := self.run(steps)["seconds"]) < seconds / 4:
            steps = self._whole(steps * min(10.0, max(2.0, seconds / 3 / max(took, 1e-6))))
        self.step_seconds = took / steps
        self.fill(seconds)

    def fill(self, seconds: float) -> None:
        """Makes a window last `seconds`."""
        self.steps = self._whole(seconds / self.step_seconds)

    @property
    def stride(self) -> int:
        return int(self.first["stride"])

    def _whole(self, steps: float) -> int:
        return max(1, math.ceil(steps / self.stride)) * self.stride

    def window(self) -> None:
        """One measured window."""
        load = machine.Load()
        answer = self.run(self.steps)
        self.other_cores.append(load.others(answer["cpu_seconds"]))
        if not math.isfinite(answer["loss"]):
            raise WorkerError(f"the loss became {answer['loss']}")
        self.step_seconds = min(self.step_seconds, answer["seconds"] / self.steps)
        self.windows.append(self.suite.value(self.steps, answer["seconds"], self.batch))
        self.peak_rss_mb = max(self.peak_rss_mb, answer["peak_rss_mb"])

    def record(self, probed: bool) -> dict[str, Any]:
        """What the windows since `forget` say."""
        return _record(self.suite, *self.case, self.batch, self.windows, probed) | {
            "first_step_s": self.first["first_step_s"],
            "peak_rss_mb": self.peak_rss_mb,
            "final_loss": self.first["final_loss"],
            "other_cores": stats.percentile(self.other_cores, 0.5),
        }


def _record(
    suite: Suite,
    framework: str,
    mode: str,
    batch: int,
    windows: list[float],
    probed: bool = False,
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
        "probed": probed,
        "windows": windows,
        "load_average": os.getloadavg()[0],
        "other_cores": None,
    }


class Run:
    """Collects records and what had to be left out."""

    def __init__(self, protocol: Protocol, frameworks: list[str], say: Say):
        self.protocol, self.frameworks, self._say = protocol, frameworks, say
        self.records: list[dict[str, Any]] = []
        self.failures: list[dict[str, str]] = []
        self.warnings: list[str] = []
        self._folder = tempfile.TemporaryDirectory(prefix="ostria-bench-")
        self._workers: dict[tuple[str, str], Worker] = {}
        self._module = ""

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
        if suite.curve:
            self._growth(suite)

    def _growth(self, suite: Suite) -> None:
        points = [r for r in self.records if r["workload"] == suite.workload]
        rows = [
            _record(replace(suite, workload=name, metric=stats.EXPONENT), *case, size, [slope])
            for name, *case, size, slope in stats.growth(points)
        ]
        self._add(suite, rows)

    def _team(self, suite: Suite, batch: int) -> list[Worker]:
        """A worker for every mode; those of an earlier suite of the same module are kept."""
        if suite.module != self._module:
            self._dismiss()
            self._module = suite.module
        fresh = []
        for case in suite.cases(self.frameworks):
            if case not in self._workers:
                self._workers[case] = Worker(*case, self._folder.name)
                fresh.append(self._workers[case])
        for worker in fresh:  # they load side by side: nothing is measured yet
            self._attempt(worker, suite, batch, worker.answer)
        cases = suite.cases(self.frameworks)
        return [self._workers[case] for case in cases if case in self._workers]

    def _attempt(
        self, worker: Worker, suite: Suite, batch: int, action: Callable[[], object]
    ) -> bool:
        """Whether it went well; a worker that failed is gone, the next batch gets another."""
        try:
            action()
        except (WorkerError, OSError) as error:
            self._fail(suite, worker.framework, worker.mode, batch, str(error))
            worker.close()
            del self._workers[worker.case]
            return False
        return True

    def _alternate(self, suite: Suite, batch: int) -> None:
        protocol = self.protocol

        def begin(worker: Worker) -> None:
            worker.begin(suite, batch)
            worker.calibrate(protocol.probe_seconds)

        workers = [
            worker
            for worker in self._team(suite, batch)
            if self._attempt(worker, suite, batch, lambda worker=worker: begin(worker))
        ]
        workers = self._rounds(workers, protocol.probes, suite, batch)
        speeds = {w.case: stats.fastest(suite.metric, w.windows) for w in workers}
        chosen = stats.contenders(suite.workload, suite.metric, speeds)
        contenders = [w for w in workers if w.case in chosen]
        records = {w.case: w.record(True) for w in workers if w.case not in chosen}
        for worker in contenders:
            worker.forget()
            worker.fill(protocol.window_seconds(worker.step_seconds))
        contenders = self._rounds(contenders, protocol.windows, suite, batch)
        records |= {w.case: w.record(False) for w in contenders}
        self._add(suite, [records[w.case] for w in workers if w.case in records])

    def _rounds(self, workers: list[Worker], rounds: int, suite: Suite, batch: int) -> list[Worker]:
        """One window of every worker in each round; returns those that did them all."""
        workers = list(workers)
        for turn in range(rounds):
            first = turn % max(1, len(workers))
            for worker in workers[first:] + workers[:first]:
                time.sleep(0.02)  # lets the last one's spinning threads fall asleep
                if not self._attempt(worker, suite, batch, worker.window):
                    workers.remove(worker)
        return workers

    def _processes(self, suite: Suite, batch: int) -> None:
        cases = suite.cases(self.frameworks)
        times: dict[tuple[str, str], list[float]] = {case: [] for case in cases}
        others: dict[tuple[str, str], list[float]] = {case: [] for case in cases}
        answers: dict[tuple[str, str], dict[str, Any]] = {}

        def rounds(cases: list[tuple[str, str]], count: int) -> None:
            for turn in range(count if cases else 0):
                for case in cases[turn % len(cases) :] + cases[: turn % len(cases)]:
                    if case not in times:
                        continue
                    answer, seconds, busy = self._spawn(suite, *case, batch)
                    if "error" in answer:
                        del times[case]
                        self._fail(suite, *case, batch, answer["error"])
                        continue
                    answers[case] = answer
                    times[case].append(seconds)
                    others[case].append(busy)

        rounds(cases, 1 + self.protocol.probes)
        for case, windows in times.items():
            times[case] = windows[1:]  # the first round warms caches
        speeds = {case: stats.fastest(suite.metric, windows) for case, windows in times.items()}
        chosen = stats.contenders(suite.workload, suite.metric, speeds)
        rounds(chosen, self.protocol.processes - self.protocol.probes)
        records = []
        for case, windows in times.items():
            record = _record(suite, *case, batch, windows, case not in chosen)
            answer = answers[case]
            record |= {key: answer[key] for key in ("final_loss", "peak_rss_mb")}
            record["other_cores"] = stats.percentile(others[case], 0.5)
            records.append(record)
        self._add(suite, records)

    def _spawn(
        self, suite: Suite, framework: str, mode: str, batch: int
    ) -> tuple[dict[str, Any], float, float]:
        """A fresh process's answer, the seconds from its start to that line, busy other cores."""
        command = _command(framework, mode, suite.workload, batch)
        environment = _environment(self._folder.name)
        load, before = machine.Load(), _cpu_of_children()
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
            busy = load.others(_cpu_of_children() - before)
            log.seek(0)
            words = log.read().strip().splitlines() or ["died without a word"]
        answer: dict[str, Any] = json.loads(line) if line else {"error": words[-1]}
        return answer, seconds, busy

    def _single(self, suite: Suite, batch: int) -> None:
        for framework, mode in suite.cases(self.frameworks):
            worker = Worker(framework, mode, self._folder.name, suite.workload, batch)
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
            if record["metric"] != suite.metric:  # one of many figures
                text = f"{record['workload']} {record['batch']} {text}"
            unit, others = record["metric"], record["other_cores"]
            note = ""
            if others is not None and others > LOAD_WARNING:
                note = f" other processes kept {others:.1f} cores busy"
                self.warnings.append(f"{record['workload']} batch {record['batch']} {text}:{note}")
            if record["probed"]:
                note = f" probed{note}"
            self._say(f"  {text:36} {stats.number(record['median']):>9} {unit}{note}")
        for problem in stats.same_losses(records, TOLERANCE):
            self._say(f"  WRONG LOSS: {problem}")
            self.failures.append({"case": "loss", "reason": problem})
        self.records += records

    def _dismiss(self) -> None:
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()

    def close(self) -> None:
        """Ends the workers and removes what peers compiled."""
        self._dismiss()
        self._folder.cleanup()
