# SPDX-License-Identifier: Apache-2.0
"""Ranks as processes, which make a call for each line they are told and answer with a line."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from launching import gone, until

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0  # seconds until a test gives up; nothing is expected to take a tenth of it


def binary() -> Path:
    """The helper of the newest build; skips where there is none."""
    folders = [os.environ.get("OSTRIA_BUILD", ""), "build/current", "build/dev"]
    for folder in filter(None, folders):
        path = ROOT / folder / "tests/unit/dist_rank"
        if path.exists():
            return path
    pytest.skip(f"no dist_rank in {', '.join(filter(None, folders))}: build it first")


def _configured(text: str) -> bool:
    return text in (binary().parents[2] / "CMakeCache.txt").read_text()


def why_not(transport: str) -> str:
    """Why this build or machine lacks a transport; empty where it has it."""
    if transport == "mpi":
        if not _configured("OSTRIA_MPI:INTERNAL=TRUE"):
            return "built without MPI (libopenmpi-dev)"
        return "" if shutil.which("mpirun") else "no mpirun here (openmpi-bin)"
    if transport != "shm" and not _configured("OSTRIA_GLOO_LIBRARY:FILEPATH=/"):
        return "built without Gloo (libgloo-dev)"
    return ""


class Rank:
    """One process. `ask` and `answer` are apart: calls of several ranks wait for each other."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [str(binary()), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self._in, self._out = self.process.stdin.fileno(), self.process.stdout.fileno()
        self._said = b""

    @property
    def pid(self) -> int:
        return self.process.pid

    def ask(self, line: str) -> None:
        os.write(self._in, line.encode() + b"\n")

    def answer(self) -> str:
        """The next line; fails the test where none comes."""
        deadline = time.monotonic() + PATIENCE
        while b"\n" not in self._said:
            left = max(0, deadline - time.monotonic())
            ready, _, _ = select.select([self._out], [], [], left)
            part = os.read(self._out, 65536) if ready else b""
            if not part:
                pytest.fail(f"no answer, but {'silence' if not ready else 'an end'}")
            self._said += part
        line, self._said = self._said.split(b"\n", 1)
        return line.decode()

    def cpu_seconds(self) -> float:
        words = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self) -> None:
        """Until it has ended."""
        self.process.wait(PATIENCE)

    def hang_up(self) -> None:
        """No more calls: it ends. Those of MPI wait for one another."""
        if self.process.stdin:
            self.process.stdin.close()

    def close(self) -> None:
        self.hang_up()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait(PATIENCE)
        if self.process.stdout:
            self.process.stdout.close()


class MpiRank(Rank):
    """One that mpirun started; it speaks through pipes with names in `folder`."""

    def __init__(self, folder: Path, rank: int) -> None:
        self._folder, self._rank = folder, rank
        for name in ("in", "out"):
            os.mkfifo(folder / f"{name}.{rank}")
        # Neither waits for the other side.
        self._in = os.open(folder / f"in.{rank}", os.O_RDWR)
        self._out = os.open(folder / f"out.{rank}", os.O_RDONLY | os.O_NONBLOCK)
        self._said = b""

    @property
    def pid(self) -> int:
        return int((self._folder / f"pid.{self._rank}").read_text())

    def wait(self) -> None:
        assert until(lambda: gone(self.pid), PATIENCE), f"rank {self._rank} does not end"

    def hang_up(self) -> None:
        if self._in >= 0:
            os.close(self._in)
        self._in = -1

    def close(self) -> None:
        self.hang_up()
        if (self._folder / f"pid.{self._rank}").exists() and not gone(self.pid):
            self.signal(signal.SIGCONT)
            if not until(lambda: gone(self.pid), 1):  # it waits for one that was killed
                self.signal(signal.SIGKILL)
        os.close(self._out)


# A rank that nobody speaks to does not start, and one that dies takes nobody with it.
MPI_RANK = """#!/bin/sh
r=$OMPI_COMM_WORLD_RANK
[ -p in.$r ] || exec sleep 20
echo $$ >pid.$r.part && mv pid.$r.part pid.$r
program=$1
shift
exec "$program" $r "$@" <in.$r >out.$r
"""
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]


def start_by_mpirun(
    folder: Path, size: int, only: list[int], *arguments: str
) -> tuple[list[Rank], subprocess.Popen[bytes]]:
    """Ranks `only` of `size`, with all arguments but the first, which is the rank; and mpirun."""
    folder.mkdir()
    script = folder / "rank.sh"
    script.write_text(MPI_RANK)
    script.chmod(0o700)
    ranks: list[Rank] = [MpiRank(folder, rank) for rank in only]
    words = [*MPIRUN, "--enable-recovery", "-np", str(size), str(script), str(binary())]
    mpirun = subprocess.Popen(
        [*words, *arguments], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    return ranks, mpirun
