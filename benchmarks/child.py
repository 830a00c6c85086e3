# SPDX-License-Identifier: Apache-2.0
"""A child process that is driven by lines of JSON and answers each with one.

It has the machine to itself between a command and its answer, so of many alive one is active at a
time. What it prints besides goes into a file, for its last words.
"""

from __future__ import annotations

import json
import select
import signal
import subprocess
import tempfile
from typing import Any

TIMEOUT = 600.0  # seconds for one answer; torch.compile's first step takes the longest


class WorkerError(RuntimeError):
    """A worker failed; the text says why."""


class Child:
    """A live child process."""

    last_lines = 1  # of what it printed, where it died

    def __init__(self, command: list[str], environment: dict[str, str]):
        self._log = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
        )

    def tell(self, **command: Any) -> None:
        """A command; `answer` waits for what comes of it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def answer(self, timeout: float = TIMEOUT) -> dict[str, Any]:
        """The worker's next line."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], max(timeout, 0.0))
        line = self._process.stdout.readline() if ready else ""
        if not line:
            why = self._end() if ready else f"no answer within {timeout:.0f} s"
            raise WorkerError(f"{why}; its last words: {self._last_words()}")
        data: dict[str, Any] = json.loads(line)
        if "error" in data:
            raise WorkerError(data["error"])
        return data

    def _end(self) -> str:
        try:
            status = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return "closed its output"
        return f"died of {signal.Signals(-status).name}" if status < 0 else f"died, {status}"

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().splitlines() if line.strip()]
        return "\n".join(lines[-self.last_lines :]) or "none"

    def _ask(self, **command: Any) -> dict[str, Any]:
        self.tell(**command)
        return self.answer()

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                stream.close()
