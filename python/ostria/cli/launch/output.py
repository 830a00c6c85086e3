# SPDX-License-Identifier: Apache-2.0
"""What ranks write: whole lines with their rank in front on the terminal, and a file for each.

Lines of different ranks never mix: a line is written in one piece once its end is there. A terminal
that is gone, or a full disk under the log files, does not stop the job.
"""

from __future__ import annotations

import os
import select
import sys
from collections import deque
from typing import BinaryIO

# A line longer than this is cut, so that a rank cannot fill the launcher's memory.
_MAX_LINE = 1 << 20
_TAIL_LINES = 20
_COLOURS = (36, 32, 33, 35, 34, 31)


class Terminal:
    """One of the launcher's own streams; colours only where it is a terminal."""

    def __init__(self, stream: BinaryIO, colour: bool) -> None:
        self._stream: BinaryIO | None = stream
        self.colour = colour

    @staticmethod
    def of(stream: object) -> Terminal:
        colour = bool(getattr(stream, "isatty", bool)()) and not os.environ.get("NO_COLOR")
        return Terminal(stream.buffer, colour)  # type: ignore[attr-defined]

    def write(self, data: bytes) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(data)
            self._stream.flush()
        except OSError:  # a reader that went away, or a full disk: the job goes on
            self._stream = None

    def say(self, text: str) -> None:
        """A line of the launcher itself."""
        self.write(f"ostria launch: {text}\n".encode(errors="replace"))


class RankLog:
    """The lines of one rank, from both of its streams in the order of arrival."""

    def __init__(self, rank: int, path: str | None, warn: Terminal) -> None:
        self.rank, self.path = rank, path
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._warn = warn
        self._file: BinaryIO | None = None
        if path is not None:
            self._file = open(path, "ab", buffering=0)

    def add(self, line: bytes) -> None:
        self.tail.append(line[:1000].decode(errors="replace"))
        if self._file is None:
            return
        try:
            self._file.write(line + b"\n")
        except OSError as error:
            self._warn.say(f"rank {self.rank}: its log file {self.path} ends here: {error}")
            self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class LineStream:
    """One stream of one rank, on its way to a terminal and a log."""

    def __init__(self, fd: int, terminal: Terminal, log: RankLog) -> None:
        os.set_blocking(fd, False)
        self.fd, self._terminal, self._log = fd, terminal, log
        self._rest = b""
        prefix = f"[rank {log.rank}] "
        if terminal.colour:
            prefix = f"\033[{_COLOURS[log.rank % len(_COLOURS)]}m{prefix}\033[0m"
        self._prefix = prefix.encode()

    def read(self) -> bool:
        """Passes on what has come; False at the end."""
        try:
            data = os.read(self.fd, 1 << 16)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if not data:
            return False
        *lines, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) > _MAX_LINE:
            lines.append(self._rest[:_MAX_LINE])
            self._rest = self._rest[_MAX_LINE:]
        self._pass_on(lines)
        return True

    def finish(self) -> None:
        """What is left, once the process has ended; one that it started may still hold the pipe."""
        while True:
            before = len(self._rest)
            try:
                more = self.read()
            except OSError:
                break
            if not more or (len(self._rest) == before and not self._ready()):
                break
        if self._rest:
            self._pass_on([self._rest])
            self._rest = b""

    def _ready(self) -> bool:
        return bool(select.select([self.fd], [], [], 0)[0])

    def _pass_on(self, lines: list[bytes]) -> None:
        for line in lines:
            self._log.add(line)
        if lines:
            self._terminal.write(b"".join(self._prefix + line + b"\n" for line in lines))


def own_terminals() -> tuple[Terminal, Terminal]:
    """The launcher's stdout and stderr."""
    return Terminal.of(sys.stdout), Terminal.of(sys.stderr)
