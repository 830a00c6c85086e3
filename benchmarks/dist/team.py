# SPDX-License-Identifier: Apache-2.0
"""The driver's side of benchmarks/dist/rank.py: the ranks of one framework as one.

Ostria's are started by `ostria launch`, PyTorch's one by one. They compute only between a command
and their answers, so of many teams alive one is active at a time.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine, stats
from benchmarks.child import WorkerError
from benchmarks.dist.rank import FIRST_CORE

TIMEOUT = 300.0  # seconds for one answer; torch.compile's first step takes the longest


def _environment(cache: str) -> dict[str, str]:
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OSTRIA_NUM_THREADS"), "1")
    path = os.pathsep.join(p for p in (str(machine.ROOT), os.environ.get("PYTHONPATH")) if p)
    own = {k: v for k, v in os.environ.items() if not k.startswith("OSTRIA_")}
    inductor = {"TORCHINDUCTOR_CACHE_DIR": os.path.join(cache, "inductor")}
    return {**own, **machine.environment(), **one, **inductor, "PYTHONPATH": path}


class Team:
    """`world` ranks of one framework in one mode, on cores from `core` on."""

    def __init__(
        self, framework: str, mode: str, world: int, folder: str, core: int = 0
    ) -> None:
        self.framework, self.mode, self.world = framework, mode, world
        self._log = tempfile.TemporaryFile("w+")
        self._channels: list[Any] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        name = f"{framework}-{mode}-{world}-{core}"
        path = str(Path(folder, f"{name}.sock"))
        rank = ["benchmarks.dist.rank", framework, mode, path]
        python = [sys.executable, "-m"]
        if framework == stats.OURS:
            commands = [[*python, "ostria", "launch", "--nproc", str(world), "-m", *rank]]
        else:
            store = str(Path(folder, f"{name}.store"))
            commands = [[*python, *rank, str(r), str(world), store] for r in range(world)]
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            server.listen(world)
            server.settimeout(1.0)
            for command in commands:
                self._processes.append(
                    subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=self._log,
                        stderr=self._log,
                        env={**_environment(folder), FIRST_CORE: str(core)},
                        start_new_session=True,
                    )
                )
            try:
                self._accept(server)
            except BaseException:
                self.close()
                raise

    def _accept(self, server: socket.socket) -> None:
        end = time.monotonic() + TIMEOUT
        while len(self._channels) < self.world:
            try:
                connection, _ = server.accept()
            except TimeoutError:
                if any(p.poll() is not None for p in self._processes) or time.monotonic() > end:
                    raise WorkerError(f"did not start; {self._last_words()}") from None
                continue
            connection.settimeout(TIMEOUT)
            self._channels.append(connection.makefile("rw"))
            connection.close()  # the file keeps it open
        self.answers()

    def ask(self, **command: Any) -> list[dict[str, Any]]:
        """Gives all ranks a command; returns their answers.

        Raises:
            WorkerError: a rank failed, died or did not answer in time.
        """
        self.tell(**command)
        return self.answers()

    def tell(self, **command: Any) -> None:
        """Gives all ranks a command."""
        try:
            for channel in self._channels:
                channel.write(json.dumps(command) + "\n")
                channel.flush()
        except OSError as error:
            raise WorkerError(f"a rank is gone ({error}); {self._last_words()}") from None

    def answers(self) -> list[dict[str, Any]]:
        answers = []
        for channel in self._channels:
            try:
                line = channel.readline()
            except OSError:
                raise WorkerError(f"no answer within {TIMEOUT:.0f} s") from None
            if not line:
                raise WorkerError(f"a rank ended; {self._last_words()}")
            answers.append(json.loads(line))
            if "error" in answers[-1]:
                raise WorkerError(answers[-1]["error"])
        return answers

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().splitlines() if line.strip()]
        return f"its last words: {lines[-1] if lines else 'none'}"

    def close(self) -> None:
        """Ends the ranks: by themselves when told, else by force."""
        for channel in self._channels:
            with contextlib.suppress(OSError):  # what a dead rank was told last
                channel.close()
        end = time.monotonic() + 10
        for process in self._processes:
            try:
                process.wait(max(0.0, end - time.monotonic()) if self._channels else 0.0)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._channels.clear()
        self._log.close()


class Entry:
    """One job of a team, and its windows in examples per second."""

    def __init__(self, team: Team, workload: str, batch: int) -> None:
        self.team, self.workload, self.batch = team, workload, batch
        self._job = f"{workload} {batch}"
        self.windows: list[float] = []
        self.other_cores: list[float] = []
        made = team.ask(make=[self._job, workload, batch])
        self.loss = sum(a["loss"] for a in made)
        self.first_step_s = max(a["first_step_s"] for a in made)
        self._steps = 1

    def calibrate(self, seconds: float) -> None:
        """Warms up and finds how many steps take `seconds`."""
        while (took := self._run()[0]) < seconds / 4:
            self._steps = math.ceil(self._steps * min(10.0, max(2.0, seconds / 3 / took)))
        self._steps = max(1, math.ceil(self._steps * seconds / took))

    def _run(self) -> tuple[float, float]:
        self.begin()
        return self.end()

    def begin(self) -> None:
        """Starts as many steps as one window has."""
        self.team.tell(run=[self._job, self._steps])

    def end(self) -> tuple[float, float]:
        """Seconds that what was begun took, and those of its processors."""
        answers = self.team.answers()
        if not all(math.isfinite(a["loss"]) for a in answers):
            raise WorkerError(f"the loss became {[a['loss'] for a in answers]}")
        return max(a["seconds"] for a in answers), sum(a["cpu_seconds"] for a in answers)

    def rate(self, seconds: float) -> float:
        """Examples per second of a window that took so long."""
        return self._steps * self.batch / seconds

    def window(self) -> None:
        """One measured window."""
        load = machine.Load()
        seconds, own = self._run()
        self.other_cores.append(load.others(own))
        self.windows.append(self.rate(seconds))

    def record(self, workload: str) -> dict[str, Any]:
        """What the windows say, under the name `workload`."""
        return {
            "workload": workload,
            "framework": self.team.framework,
            "mode": self.team.mode,
            "batch": self.batch,
            "metric": "examples/s",
            **stats.summary(self.windows),
            "first_step_s": self.first_step_s,
            "peak_rss_mb": None,
            "final_loss": self.loss,
            "probed": False,
            "ranks": self.team.world,
            "windows": self.windows,
            "other_cores": stats.percentile(self.other_cores, 0.5),
        }


class Apart:
    """The same job in teams that know nothing of each other, at the same time.

    What it has on top of one of them is what the machine can give two ranks at most.
    """

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = entries
        self.windows: list[float] = []  # examples per second of all together

    def window(self) -> None:
        """One measured window."""
        for entry in self._entries:
            entry.begin()
        self.windows.append(sum(entry.rate(entry.end()[0]) for entry in self._entries))


def alternate(entries: Sequence[Entry | Apart], windows: int) -> None:
    """`windows` of every entry in turn, each round starting one further on."""
    for turn in range(windows):
        first = turn % len(entries)
        for entry in [*entries[first:], *entries[:first]]:
            time.sleep(0.02)  # lets the last one's spinning threads fall asleep
            entry.window()
