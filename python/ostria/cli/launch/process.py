# SPDX-License-Identifier: Apache-2.0
"""One rank as a process: started in a group of its own, watched, and ended with all it started."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ostria._exit_status import SAVED
from ostria.cli.launch.evidence import (
    MemoryGroup,
    count_oom_kills,
    find_group,
    read_group,
    say_why_killed,
)
from ostria.cli.launch.output import LineStream, RankLog, Terminal

_BLAME = re.compile(r"ostria\.(?:PeerFailed|Distributed)Error: (.*?): (rank (\d+) \(.*)")


@dataclass(frozen=True)
class Blame:
    """Whom a rank names that gave up: who failed in which way, and in which operation."""

    operation: str
    failure: str
    rank: int


@dataclass(frozen=True)
class Ended:
    """How a rank ended.

    Attributes:
      status: exit code, or the negative number of a signal.
      by_us: the last signal that the launcher sent it; 0 for none.
      why: a sentence where it was killed.
      seconds: from its start to its end.
    """

    rank: int
    pid: int
    status: int
    by_us: int
    why: str
    seconds: float
    tail: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """As shells give it: 128 + n for signal n."""
        return self.status if self.status >= 0 else 128 - self.status

    @property
    def saved(self) -> bool:
        """Whether a signal stopped it and it saved: no failure, but not done either."""
        return self.status == SAVED

    @property
    def last_words(self) -> str:
        """The last line that is the program's; who serves the store may say more after it."""
        own = (t for t in reversed(self.tail) if t.strip() and not t.startswith("[ostria]"))
        return next(own, "")

    @property
    def gave_up(self) -> bool:
        """Whether its last words are that another one failed."""
        return self.last_words.startswith(("ostria.PeerFailedError:", "ostria.DistributedError:"))

    @property
    def blamed(self) -> Blame | None:
        """Of one that gave up: because of whom."""
        match = _BLAME.match(self.last_words)
        return None if match is None else Blame(match[1], match[2], int(match[3]))

    def __str__(self) -> str:
        if self.status >= 0:
            return f"exit code {self.status}"
        try:
            return signal.Signals(-self.status).name
        except ValueError:  # a real-time signal
            return f"signal {-self.status}"


class RankProcess:
    """A running rank. Its end shows at ``pidfd``, which becomes readable."""

    def __init__(
        self,
        rank: int,
        command: Sequence[str],
        environ: Mapping[str, str],
        *,
        pass_fds: Sequence[int],
        before_exec: Callable[[], None],
        terminals: tuple[Terminal, Terminal],
        log: RankLog,
    ) -> None:
        self.rank, self.log = rank, log
        self.sent = 0
        self._start = time.monotonic()
        self._process = subprocess.Popen(
            list(command),
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=tuple(pass_fds),
            process_group=0,
            preexec_fn=before_exec,
        )
        self.pid = self._process.pid
        self.pidfd = os.pidfd_open(self.pid)
        assert self._process.stdout is not None and self._process.stderr is not None
        self.streams = [
            LineStream(self._process.stdout.fileno(), terminals[0], log),
            LineStream(self._process.stderr.fileno(), terminals[1], log),
        ]
        self._oom_kills = count_oom_kills()
        self._folder: Path | None = None
        self._group: MemoryGroup | None = None
        self.look()

    def send(self, signum: int) -> None:
        """To the rank alone: what it has started is its own to tell."""
        self.sent = signum
        signal.pidfd_send_signal(self.pidfd, signum)

    def kill(self) -> None:
        """Ends the rank and all that it has started."""
        self.sent = signal.SIGKILL
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def look(self) -> None:
        """Notes the control group, which a process may change and loses at its end."""
        folder = find_group(self.pid)
        if folder is not None and folder != self._folder and not self._at_end():
            self._folder, self._group = folder, read_group(folder)

    def _at_end(self) -> bool:
        return bool(select.select([self.pidfd], [], [], 0)[0])

    def reap(self) -> Ended:
        """Takes leave of a rank that has ended; nothing that it started stays behind."""
        # Its number is not given out again before it is reaped, so this hits nobody else.
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        _, status, usage = os.wait4(self.pid, 0)
        seconds = time.monotonic() - self._start
        self._process.returncode = os.waitstatus_to_exitcode(status)
        for stream in self.streams:
            stream.finish()
        assert self._process.stdout is not None and self._process.stderr is not None
        self._process.stdout.close()
        self._process.stderr.close()
        os.close(self.pidfd)
        self.log.close()
        why = ""
        if self._process.returncode == -signal.SIGKILL and self.sent != signal.SIGKILL:
            now = read_group(self._folder) if self._folder is not None else None
            elsewhere = count_oom_kills() - self._oom_kills
            why = say_why_killed(self._group, now, elsewhere, usage.ru_maxrss * 1024)
        return Ended(
            rank=self.rank,
            pid=self.pid,
            status=self._process.returncode,
            by_us=self.sent,
            why=why,
            seconds=seconds,
            tail=tuple(self.log.tail),
        )
