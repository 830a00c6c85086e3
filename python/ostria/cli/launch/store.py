# SPDX-License-Identifier: Apache-2.0
"""The store of the job's control channel, which the launcher of host 0 serves.

It outlives every rank, so what the launcher sees of a rank's end (the signal, a kill for want of
memory) reaches the others by name. Launchers of other hosts tell it what they see of theirs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from ostria._native import DistributedError, dist
from ostria.cli.launch.meeting import Meeting
from ostria.cli.launch.process import Ended
from ostria.distribute._env_values import split_address

# What ranks of other hosts are waited for in one go.
_PAUSE = 0.02
# How long a launcher of another host tries to tell what it saw; nobody waits for it for longer.
_TELL = {"heartbeat": 0.05, "suspect": 0.1, "dead": 0.25, "join": 0.25, "authenticate": 0.25}


class JobStore:
    """Serves on host 0 from now on; elsewhere it is the way to there.

    Raises:
      ValueError: a timer of the environment is not what it must be.
    """

    def __init__(self, meeting: Meeting, world: int) -> None:
        self._meeting, self._world, self._generation = meeting, world, 1
        self._secret = dist.secret_from_file(meeting.secret_file)
        self.timers = dist.Timers()
        self._server: dist.ControlServer | None = None
        self.log, writer = os.pipe()
        for fd in (self.log, writer):
            os.set_blocking(fd, False)
        self._writer = writer
        if meeting.listener is not None:
            host, port = split_address(meeting.address)
            fd = meeting.listener.detach()
            self._server = dist.ControlServer(
                host, port, meeting.job_id, 1, world, self._secret, self.timers, -1, fd, writer
            )

    def begin(self, generation: int, world: int) -> None:
        """A new attempt; processes of older ones are refused from now on."""
        if self._server is not None and generation > self._generation:
            self._server.advance(generation, world)
        self._generation, self._world = generation, world

    def lines(self) -> list[str]:
        """What the store has to say since it was last asked."""
        try:
            text = os.read(self.log, 1 << 16)
        except BlockingIOError:
            return []
        return text.decode(errors="replace").splitlines()

    def report(self, end: Ended) -> None:
        """Tells all ranks of one that failed. What the launcher did to it itself is no news."""
        if end.status == 0 or end.saved or end.by_us:
            return
        reason = f"ended with {end}" + (f": {end.why}" if end.why else "")
        if self._server is not None:
            self._server.report(end.rank, reason)
            return
        host, port = split_address(self._meeting.address)
        try:
            there = dist.ControlClient(
                *(host, port, self._meeting.job_id, self._generation, -1, self._world),
                *(self._secret, dist.Timers(_TELL)),
            )
            there.report(end.rank, reason)
            there.leave()
        except DistributedError:
            pass  # it has ended, or is cut off, and its ranks find out

    def wait(self, patience: float, is_over: Callable[[], bool]) -> None:
        """Until the ranks of other hosts have left too: they need the store to their end."""
        end = time.monotonic() + patience
        while self._server is not None and self._server.present() and not is_over():
            if time.monotonic() >= end:
                return
            time.sleep(_PAUSE)

    def close(self) -> None:
        self._server = None
        os.close(self._writer)
        os.close(self.log)
