# SPDX-License-Identifier: Apache-2.0
"""This process's end of the control channel: who is there, who failed, and a small store.

Strategies use it. The channel is apart from the data path: a thread that needs no lock of Python's
beats and listens, so a rank is known to be alive while it computes, and every wait ends when a peer
fails. The launcher of host 0 serves the store; where another launcher started the job, rank 0 does.
"""

from __future__ import annotations

import hashlib
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

from ostria._errors import add_line, at_line
from ostria._native import DistributedError, PeerFailedError, dist

__all__ = ["Control", "Failure", "Member", "RankPace"]


@dataclass(frozen=True)
class Member:
    """A rank that has joined: where it runs and how it can be reached."""

    rank: int
    host: str
    pid: int
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Failure:
    """What is known of a process that failed; rank -1 is none of the ranks."""

    rank: int
    host: str
    pid: int
    reason: str
    operation: str


@dataclass(frozen=True)
class RankPace:
    """How fast a rank was among the others, in the last window of 20 steps or more.

    Attributes:
      rank, host: which.
      score: how many times the median rank's time a step takes of its own, if it had to wait for
        nobody; the smaller of two medians, so of two ranks one is compared with the other.
      section: what takes most in excess of the median rank, a key of ``seconds``.
      steps: how many the window has.
      seconds: of a step: "input" (waiting for data, if it waited for nothing else), "compute",
        "comm" (in collectives, waiting for other ranks included), "between steps" (what else the
        program does).
    """

    rank: int
    host: str
    score: float
    section: str
    steps: int
    seconds: Mapping[str, float]


class Control:
    """Connects to the store of a job and proves that this process belongs to it.

    Use it as a context: a clean end leaves the job, an exception is told to the others first.

    Args:
      rank, world: this process's place, 0 to ``world - 1``.
      job: id of the job; all its processes give the same.
      address: of the store: an address, a host's name or an interface's.
      port: of the store; 0 takes a free one, for rank 0 alone.
      generation: counts the job's restarts; processes of an older one are refused.
      secret: of the job; None reads OSTRIA_SECRET, OSTRIA_SECRET_FD or OSTRIA_SECRET_FILE.
      timers: seconds by name (heartbeat, suspect, dead, no_progress, first_step, join, report,
        authenticate); the others are the environment's (OSTRIA_TIMER_…) or the defaults.
      serve: whether this process serves the store; None: rank 0 does. A launcher that serves it
        sees how ranks end.
      host: name of this host in messages; None: the machine's.

    Raises:
      DistributedError: the store does not answer in ``join`` seconds, or refuses this process; the
        message says whether job, secret, version, generation or rank is wrong.
      ValueError: secret or timers are not given as they must be.
    """

    def __init__(
        self,
        rank: int,
        world: int,
        *,
        job: str,
        address: str,
        port: int = 0,
        generation: int = 1,
        secret: dist.JobSecret | None = None,
        timers: Mapping[str, float] | None = None,
        serve: bool | None = None,
        host: str | None = None,
    ) -> None:
        if not 0 <= rank < world:
            raise ValueError(at_line(f"control: rank {rank} of {world}; ranks are 0 to world - 1"))
        self.rank, self.world, self.generation = rank, world, generation
        self.timers = dist.Timers(dict(timers or {}))
        secret = dist.secret_from_environment() if secret is None else secret
        self._server: dist.ControlServer | None = None
        if rank == 0 if serve is None else serve:
            self._server = dist.ControlServer(
                address, port, job, generation, world, secret, self.timers, rank
            )
            address, port = self._server.host, self._server.port
        self.address, self.port = address, port
        try:
            self._client = dist.ControlClient(
                address, port, job, generation, rank, world, secret, self.timers, host or ""
            )
        except DistributedError as error:
            add_line(error)
            raise
        self._hosts: list[str] = []
        self._open = True

    @property
    def native(self) -> dist.ControlClient:
        """The connection, for bindings that watch a communicator."""
        return self._client

    def join(self, addresses: Sequence[str] = ()) -> list[Member]:
        """Waits for all ranks (``timers.join``), gives them this one's addresses, at most four.

        Raises:
          PeerFailedError: some did not come in time; the message names them.
        """
        joined = self._client.join(list(addresses))
        self._hosts = [host for _, host, _, _ in joined]
        return [Member(r, h, p, tuple(a)) for r, h, p, a in joined]

    # --- Store ------------------------------------------------------------------------------------

    def set(self, key: str, value: bytes) -> None:
        """Sets a value of at most 1 MiB under a key of at most 512 bytes."""
        self._client.set(key, value)

    def get(self, key: str, timeout: float | None = None) -> bytes:
        """Waits until `key` is set; `timeout` seconds, ``timers.no_progress`` if None."""
        return self._client.get(key, self._wait(timeout))

    def try_get(self, key: str) -> bytes | None:
        return self._client.try_get(key)

    def add(self, key: str, number: int) -> int:
        """Adds to the decimal number under `key` (absent: 0) and returns the sum."""
        return self._client.add(key, number)

    # --- Meetings ---------------------------------------------------------------------------------

    def barrier(self, name: str, timeout: float | None = None) -> None:
        """Returns when every rank has called it with this name.

        Raises:
          DistributedError: some did not come within `timeout` seconds (``timers.no_progress`` if
            None) or left the job; the message names them and their hosts.
          PeerFailedError: one failed.
        """
        self._client.barrier(name, self._wait(timeout))

    def agree(
        self,
        name: str,
        lines: Sequence[str],
        *,
        fingerprint: bytes | None = None,
        timeout: float | None = None,
    ) -> None:
        """Returns when every rank has given the same under this name.

        Args:
          name: what is compared, such as "graph of step".
          lines: it in readable form; sent only where it differs.
          fingerprint: a hash of it, at most 1 MiB; that of `lines` if None.
          timeout: seconds for all ranks to come; ``timers.first_step`` if None.

        Raises:
          DistributedError: on all ranks, with the first line that differs and who has it.
          PeerFailedError: one failed.
        """
        if fingerprint is None:
            text = "".join(f"{len(line)}:{line}\n" for line in lines)
            fingerprint = hashlib.sha256(text.encode()).digest()
        wait = self.timers.first_step if timeout is None else timeout
        self._client.agree(name, fingerprint, list(lines), wait)

    # --- Progress and failures --------------------------------------------------------------------

    def begin_step(self) -> None:
        """A step begins: what it takes is told to the others, by heartbeats."""
        self._client.begin_step()

    def end_step(self, counts: bool = True, opaque: bool = False) -> None:
        """A step has ended: from now on ``no_progress`` counts instead of ``first_step``.

        Args:
          counts: whether what it took is like that of others; not of one that was traced.
          opaque: nobody knows when it computed, and when it waited for other ranks.
        """
        self._client.end_step(counts, opaque)

    def read_input(self, waited: float, ahead: float) -> None:
        """Since the last step this process waited so many seconds, and its thread read so many."""
        self._client.read(waited, ahead)

    @contextmanager
    def not_of_the_step(self) -> Iterator[None]:
        """What happens inside makes this rank no slower than others in the eyes of `paces`."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self._client.skip(time.monotonic() - begin)

    def paces(self) -> list[RankPace]:
        """Of all ranks in order; empty before the first 20 steps have been told."""
        names = ("input", "compute", "comm", "between steps")
        return [
            RankPace(
                rank,
                self._hosts[rank] if rank < len(self._hosts) else "",
                score / 1000,
                section,
                steps,
                {name: ns * 1e-9 for name, ns in zip(names, times, strict=True)},
            )
            for rank, steps, score, section, *times in self._client.paces()
        ]

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Inside, this rank does what the others wait for; ``first_step`` counts meanwhile."""
        self._client.set_busy(what)
        try:
            with self.not_of_the_step():
                yield
        finally:
            self._client.set_busy("")

    @contextmanager
    def guard(self, operation: str) -> Iterator[None]:
        """Names the cause of a DistributedError inside: a PeerFailedError where a peer failed.

        The data path often knows only that a connection broke, and some time before the channel
        knows why, so a failure is waited for during two heartbeats.
        """
        try:
            yield
        except PeerFailedError:
            raise
        except DistributedError as error:
            if not self._client.wait_for_failure(2 * self.timers.heartbeat):
                raise
            try:
                self._client.raise_failure(operation)
            except PeerFailedError as cause:
                raise cause from error

    @property
    def failure(self) -> Failure | None:
        """The failure that ended this generation, if one did."""
        found = self._client.failure()
        return None if found is None else Failure(*found)

    def failures(self) -> list[Failure]:
        """All of this generation, the root cause first; then in the order of the store's clock."""
        source = self._client if self._server is None else self._server
        return [Failure(*f) for f in source.failures()]

    def post_failure(self, error: BaseException, operation: str = "") -> None:
        """Tells everybody why this rank ends; a DistributedError is told as a consequence."""
        text = "".join(traceback.format_exception_only(error)).strip()
        self._client.post_failure(text, operation, isinstance(error, DistributedError))

    # --- The end ----------------------------------------------------------------------------------

    def leave(self) -> None:
        """This rank is done: no failure. Who serves waits ``no_progress`` for the others."""
        self._client.leave()
        self._open = False
        if self._server is not None:
            self._server.wait_until_left(self.timers.no_progress)

    def __enter__(self) -> Control:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if error is None or (isinstance(error, SystemExit) and not error.code):
            self.leave()
            return
        try:
            self.post_failure(error)
        except DistributedError:
            pass  # the store is gone, and the error on its way says more
        self._client.leave()
        self._open = False
        if self._server is not None:  # the others ask it for the root cause
            self._server.wait_until_left(self.timers.dead)

    def _wait(self, timeout: float | None) -> float:
        return self.timers.no_progress if timeout is None else timeout
