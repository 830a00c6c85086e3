# SPDX-License-Identifier: Apache-2.0
"""Ranks as processes, which make a call for each line they are told and answer with a line."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

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


def gloo_is_built() -> bool:
    cache = binary().parents[2] / "CMakeCache.txt"
    return "OSTRIA_GLOO_LIBRARY:FILEPATH=/" in cache.read_text()


class Rank:
    """One process. `ask` and `answer` are apart: calls of several ranks wait for each other."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [str(binary()), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._said = b""

    def ask(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        """The next line; fails the test where none comes."""
        assert self.process.stdout is not None
        fd, deadline = self.process.stdout.fileno(), time.monotonic() + PATIENCE
        while b"\n" not in self._said:
            ready, _, _ = select.select([fd], [], [], max(0, deadline - time.monotonic()))
            part = os.read(fd, 65536) if ready else b""
            if not part:
                pytest.fail(f"no answer, but {'silence' if not ready else 'an end'}")
            self._said += part
        line, self._said = self._said.split(b"\n", 1)
        return line.decode()

    def cpu_seconds(self) -> float:
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def close(self) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait(PATIENCE)
        if self.process.stdout:
            self.process.stdout.close()
