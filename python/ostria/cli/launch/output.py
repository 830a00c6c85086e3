# SPDX-License-Identifier: Apache-2.0
"""What ranks write: whole lines with their rank in front on the terminal, and a file for each.

Lines of different ranks never mix: a line is written in one piece once its end is there. A terminal
that is gone, or a full disk under the log files, does not stop the job.
"""

from __future__ import annotations

import os
import select
import stat
import sys
import time
from collections import deque
from typing import BinaryIO

# A line longer than this is cut, so that a rank cannot fill the launcher's memory.
_MAX_LINE = 1 << 20
_TAIL_LINES = 20
# Bytes that a slow reader may leave with the launcher before ranks have to wait.
_MAX_WAITING = 1 << 20
# What a rank left in its pipes; one that it started may go on writing there.
_MAX_LEFT = 64
_COLOURS = (36, 32, 33, 35, 34, 31)


class Terminal:
    """One of the launcher's own streams; colours only where it is a terminal.

    What its reader does not take yet waits here, so that the launcher never does.
    """

    def __init__(self, fd: int, colour: bool = False) -> None:
        self.fd, self.colour = fd, colour
        self._waiting = bytearray()
        self._gone = False
        self._inside_line = False
        self._neighbour: Terminal | None = None  # that may write to the same place
        # A file can always be written, and cannot be waited for.
        self._is_file = stat.S_ISREG(os.fstat(fd).st_mode)

    @property
    def is_waiting(self) -> bool:
        """Whether its reader is to be waited for; not while the neighbour is inside a line."""
        held = self._neighbour is not None and self._neighbour._inside_line
        return bool(self._waiting) and not held

    @property
    def is_full(self) -> bool:
        """Whether ranks should wait before they write more."""
        return len(self._waiting) > _MAX_WAITING

    def write(self, data: bytes) -> None:
        if not self._gone:
            self._waiting += data
            self.pump()

    def say(self, text: str) -> None:
        """A line of the launcher itself."""
        self.write(f"ostria launch: {text}\n".encode(errors="replace"))

    def pump(self) -> None:
        """Writes as much as is taken at once."""
        while self._waiting and self._is_ready(0):
            # A pipe that is ready takes this much without making anybody wait.
            cut = self._waiting.rfind(b"\n", 0, select.PIPE_BUF) + 1 or select.PIPE_BUF
            try:
                done = os.write(self.fd, self._waiting[:cut])
            except BlockingIOError:
                return
            except OSError:  # a reader that went away, or a full disk: the job goes on
                self._gone, done = True, len(self._waiting)
            self._inside_line = not self._gone and self._waiting[done - 1 : done] != b"\n"
            del self._waiting[:done]

    def drain(self, patience: float) -> None:
        """Waits for the reader, but not for ever."""
        end = time.monotonic() + patience
        while self._waiting and (left := end - time.monotonic()) > 0:
            if self._is_ready(min(left, 0.1)):
                self.pump()
            elif self._neighbour is not None and self._neighbour._is_ready(min(left, 0.1)):
                self._neighbour.pump()

    def _is_ready(self, patience: float) -> bool:
        if self._neighbour is not None and self._neighbour._inside_line:
            return False
        return self._is_file or bool(select.select([], [self.fd], [], patience)[1])


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
        self.fd, self.terminal, self._log = fd, terminal, log
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
        for _ in range(_MAX_LEFT):
            if not select.select([self.fd], [], [], 0)[0] or not self.read():
                break
        if self._rest:
            self._pass_on([self._rest])
            self._rest = b""

    def _pass_on(self, lines: list[bytes]) -> None:
        for line in lines:
            self._log.add(line)
        if lines:
            self.terminal.write(b"".join(self._prefix + line + b"\n" for line in lines))


def own_terminals() -> tuple[Terminal, Terminal]:
    """The launcher's stdout and stderr."""
    plain = bool(os.environ.get("NO_COLOR"))
    out, err = (
        Terminal(stream.fileno(), stream.isatty() and not plain)
        for stream in (sys.stdout, sys.stderr)
    )
    out._neighbour, err._neighbour = err, out
    return out, err
