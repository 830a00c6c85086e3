# SPDX-License-Identifier: Apache-2.0
"""A small process that outlives the launcher by a moment, to end the ranks where it was killed.

It waits at a pipe whose other end only the launcher has. When that closes, every group of processes
that the launcher started and did not report as ended gets SIGKILL. (Ranks also ask the kernel for
SIGKILL at their parent's death; what they have started themselves cannot.)
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


class Guard:
    """Forks at once: make it before anything that a child should not inherit."""

    def __init__(self) -> None:
        readable, self._pipe = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                _watch(readable)
            finally:
                os._exit(0)
        os.close(readable)

    def started(self, group: int) -> None:
        self._tell(f"+{group}\n")

    def ended(self, group: int) -> None:
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """Lets it go, and waits for its end."""
        os.close(self._pipe)
        os.waitpid(self.pid, 0)

    def _tell(self, line: str) -> None:
        try:
            os.write(self._pipe, line.encode())
        except OSError:  # somebody ended it: the kernel's own signal is left
            pass


def _watch(pipe: int) -> None:
    os.setsid()  # a Ctrl-C in the terminal is not for it
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.dup2(pipe, 3)
    os.closerange(4, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") > 0 else 65536)
    groups: set[int] = set()
    rest = b""
    while data := os.read(3, 4096):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            (groups.add if line[:1] == b"+" else groups.discard)(int(line[1:]))
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except OSError:
            pass


def die_with_parent() -> Callable[[], None]:
    """What a child runs before its program: SIGKILL for it when this process dies."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel was asked
            os._exit(1)

    return ask
