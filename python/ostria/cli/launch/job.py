# SPDX-License-Identifier: Apache-2.0
"""Generations of ranks: all run, or none does.

The root cause is the first rank to fail by itself; the others get SIGTERM soon, and SIGKILL when
their time is up.
A signal to the launcher is passed on, and the ranks have the grace period to save. They have it too
where a rank that somebody else told to stop has saved: that is no failure, and no reason to start
again. Every wait ends: by the end of a process, by a signal, or by a deadline.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from types import FrameType

from ostria._errors import at_line
from ostria._exit_status import SAVED
from ostria.cli.launch.guard import Guard, die_with_parent
from ostria.cli.launch.meeting import Meeting, make_meeting
from ostria.cli.launch.options import LaunchOptions, count_threads
from ostria.cli.launch.output import LineStream, RankLog, Terminal, own_terminals
from ostria.cli.launch.process import Ended, RankProcess
from ostria.cli.launch.store import JobStore

# Before SIGTERM: ranks that notice a failure by themselves can still say what it meant to them.
_NOTICE = 0.5
# After a failure there is little to save: ranks cannot agree on it without the one that failed.
_GRACE_AFTER_FAILURE = 5.0
# How often control groups are looked at.
_LOOK_EVERY = 0.5
# How long a reader of the launcher's own output may take for the last lines.
_PATIENCE_WITH_READERS = 5.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_job(options: LaunchOptions, environ: Mapping[str, str]) -> int:
    """Runs the job on this host to its end, with restarts.

    Returns:
      The launcher's exit status: 0 when every rank ended with 0; 42 where a signal stopped the job
      and its ranks saved; that of the root cause; 128 + n where signal n ended the job.

    Raises:
      ValueError, OSError: nothing was started: no port, no secret, no folder for logs.
    """
    guard = Guard()
    terminals = own_terminals()
    store: JobStore | None = None
    try:
        meeting = make_meeting(
            options.rendezvous,
            nnodes=options.nnodes,
            node_rank=options.node_rank,
            environ=environ,
        )
        if options.log_dir is not None:
            _make_folder(options.log_dir)
        store = JobStore(meeting, options.nnodes * options.nproc)
        with _SignalPipe() as signals:
            last = options.max_restarts + 1
            failed_before: int | None = None
            for generation in range(1, last + 1):
                store.begin(generation, options.nnodes * options.nproc)
                run = _Generation(
                    options, environ, meeting, generation, terminals, guard, signals, store
                )
                code, again = run.run(), generation < last
                if code in (0, SAVED) or signals.first is not None or not again:
                    return code
                failed, fewer = run.at_fault, ""
                if failed is not None and failed == failed_before:
                    if options.nproc > options.min_nproc:
                        options = replace(options, nproc=options.nproc - 1)
                        fewer = f" with {options.nproc} process(es): rank {failed} failed twice"
                        failed = None
                failed_before = failed
                terminals[1].say(
                    f"starting the job again as generation {generation + 1} of at most {last}"
                    f"{fewer}"
                )
        raise AssertionError
    finally:
        guard.close()
        if store is not None:
            store.close()
        for terminal in terminals:
            terminal.drain(_PATIENCE_WITH_READERS)


def _make_folder(path: str) -> None:
    try:
        os.makedirs(path, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        what = f"ostria launch: --log-dir is '{path}', which cannot be used"
        raise OSError(
            error.errno, at_line(f"{what} ({error.strerror}); give a folder that can be written")
        ) from None


class _SignalPipe:
    """Signals as something to select on. The first one decides how the job ends."""

    def __init__(self) -> None:
        self.reader, self._writer = socket.socketpair()
        self.first: int | None = None
        self.interrupts = 0

    def __enter__(self) -> _SignalPipe:
        for end in (self.reader, self._writer):
            end.setblocking(False)
        self._old_fd = signal.set_wakeup_fd(self._writer.fileno())
        self._old = {s: signal.signal(s, self._note) for s in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for signum, old in self._old.items():
            signal.signal(signum, old)
        signal.set_wakeup_fd(self._old_fd)
        self.reader.close()
        self._writer.close()

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.first = self.first or signum
        self.interrupts += signum == signal.SIGINT

    def drain(self) -> None:
        try:
            while self.reader.recv(64):
                pass
        except BlockingIOError:
            pass


class _Generation:
    """One attempt: as many processes as this host has ranks."""

    def __init__(
        self,
        options: LaunchOptions,
        environ: Mapping[str, str],
        meeting: Meeting,
        generation: int,
        terminals: tuple[Terminal, Terminal],
        guard: Guard,
        signals: _SignalPipe,
        store: JobStore,
    ) -> None:
        self._options, self._environ, self._meeting = options, environ, meeting
        self._generation, self._terminals = generation, terminals
        self._guard, self._signals, self._store = guard, signals, store
        self._running: dict[int, RankProcess] = {}
        self._ended: list[Ended] = []
        self._failed: Ended | None = None
        self._terminate_at: float | None = None  # SIGTERM
        self._deadline: float | None = None  # SIGKILL
        self._passed_on = False
        self._open: dict[int, LineStream] = {}  # not at their end
        self.at_fault: int | None = None  # the rank that is the root cause, once it is known
        self._host = socket.gethostname()
        self._looked = time.monotonic()

    def run(self) -> int:
        with selectors.DefaultSelector() as selector:
            selector.register(self._signals.reader, selectors.EVENT_READ)
            selector.register(self._store.log, selectors.EVENT_READ, self._store)
            try:
                self._start(selector)
                while self._running:
                    self._turn(selector)
            finally:
                for process in list(self._running.values()):
                    process.kill()
                    self._reap(process, selector)
        timers = self._store.timers
        self._store.wait(
            timers.no_progress if self._failed is None else timers.dead,
            lambda: self._signals.first is not None,
        )
        self._pass_on_store()
        return self._report()

    def _start(self, selector: selectors.BaseSelector) -> None:
        o = self._options
        first = o.node_rank * o.nproc
        self._terminals[1].say(
            f"job {self._meeting.job_id}, generation {self._generation}: ranks {first} to "
            f"{first + o.nproc - 1} of {o.nnodes * o.nproc} on {self._host}, rendezvous "
            f"{self._meeting.address}, grace period {o.grace:g} s"
        )
        before_exec = die_with_parent()
        for local in range(o.nproc):
            rank = first + local
            fds = [fd for fd in (self._meeting.secret_fd,) if fd is not None]
            environ = self._environ_of(rank, local)
            process = RankProcess(
                rank,
                o.command,
                environ,
                pass_fds=fds,
                before_exec=before_exec,
                terminals=self._terminals,
                log=RankLog(rank, self._log_path(rank), self._terminals[1]),
            )
            self._guard.started(process.pid)
            self._running[rank] = process
            selector.register(process.pidfd, selectors.EVENT_READ, process)
            for stream in process.streams:
                self._open[stream.fd] = stream

    def _environ_of(self, rank: int, local: int) -> dict[str, str]:
        o, m = self._options, self._meeting
        environ = dict(self._environ)
        threads = str(count_threads(o.nproc))
        environ.setdefault("OSTRIA_NUM_THREADS", threads)
        # NumPy's BLAS among others: threads that spin take the cores from the other ranks.
        environ.setdefault("OMP_NUM_THREADS", threads)
        # What a rank wrote before it was killed is worth most.
        environ.setdefault("PYTHONUNBUFFERED", "1")
        for name in ("OSTRIA_SECRET", "OSTRIA_SECRET_FD"):
            environ.pop(name, None)
        return environ | {
            "OSTRIA_RANK": str(rank),
            "OSTRIA_WORLD_SIZE": str(o.nnodes * o.nproc),
            "OSTRIA_LOCAL_RANK": str(local),
            "OSTRIA_LOCAL_SIZE": str(o.nproc),
            "OSTRIA_NODE_RANK": str(o.node_rank),
            "OSTRIA_NODE_COUNT": str(o.nnodes),
            "OSTRIA_RENDEZVOUS": m.address,
            "OSTRIA_STORE": "launcher",
            "OSTRIA_JOB_ID": m.job_id,
            "OSTRIA_GENERATION": str(self._generation),
            "OSTRIA_SECRET_FILE": m.secret_file,
        }

    def _log_path(self, rank: int) -> str | None:
        if self._options.log_dir is None:
            return None
        again = f".{self._generation}" if self._generation > 1 else ""
        return os.path.join(self._options.log_dir, f"rank-{rank}{again}.log")

    def _turn(self, selector: selectors.BaseSelector) -> None:
        """Waits for something to happen, and deals with it."""
        wait = _LOOK_EVERY
        for due in (self._terminate_at, self._deadline):
            if due is not None:
                wait = min(wait, max(0.0, due - time.monotonic()))
        gone: list[RankProcess] = []
        self._choose(selector)
        events = selector.select(wait)
        for key, _ in events:
            if isinstance(key.data, RankProcess):
                gone.append(key.data)
            elif isinstance(key.data, LineStream):
                if not key.data.read():
                    selector.unregister(key.fd)
                    del self._open[key.fd]
            elif isinstance(key.data, Terminal):
                key.data.pump()
            elif key.data is self._store:
                self._pass_on_store()
            else:
                self._signals.drain()
        if time.monotonic() >= self._looked + _LOOK_EVERY:
            self._looked = time.monotonic()
            for process in self._running.values():
                process.look()
        ended = [self._reap(process, selector) for process in gone]
        # Of those that ended at once, one that was killed is the cause of one that gave up.
        for end in sorted(ended, key=lambda e: (e.status >= 0 or e.by_us != 0, e.rank)):
            self._note(end)
        self._pass_on_signals()
        if self._terminate_at is not None and time.monotonic() >= self._terminate_at:
            self._terminate_at = None
            self._stop(signal.SIGTERM, min(self._options.grace, _GRACE_AFTER_FAILURE))
        if self._deadline is not None and time.monotonic() >= self._deadline:
            for process in self._running.values():
                process.kill()
            self._deadline = time.monotonic() + _LOOK_EVERY

    def _note(self, end: Ended) -> None:
        """What the end of a rank means to the others."""
        if end.status == 0 or self._failed is not None or end.by_us == signal.SIGKILL:
            return
        if not end.saved:
            self._failed = end
            if not self._passed_on:
                self._terminate_at = time.monotonic() + _NOTICE
        elif self._deadline is None:  # they agreed on the step, and end by themselves
            self._deadline = time.monotonic() + self._options.grace

    def _choose(self, selector: selectors.BaseSelector) -> None:
        """Listens to ranks whose terminal has room, and to terminals that others wait for."""
        wanted: dict[int, tuple[int, object]] = {
            fd: (selectors.EVENT_READ, stream)
            for fd, stream in self._open.items()
            if not stream.terminal.is_full
        }
        for terminal in self._terminals:
            if terminal.is_waiting:
                wanted[terminal.fd] = (selectors.EVENT_WRITE, terminal)
        known = {*self._open, *(t.fd for t in self._terminals)} & set(selector.get_map())
        for fd in known - set(wanted):
            selector.unregister(fd)
        for fd in set(wanted) - known:
            selector.register(fd, *wanted[fd])

    def _pass_on_signals(self) -> None:
        first = self._signals.first
        if first is None:
            return
        if self._signals.interrupts > 1:  # the user insists
            self._deadline = time.monotonic()
        if self._passed_on or self._failed is not None:
            return
        self._passed_on = True
        self._terminals[1].say(
            f"{signal.Signals(first).name}: passed on to {len(self._running)} rank(s), which have "
            f"{self._options.grace:g} s to save and end"
        )
        self._stop(signal.SIGTERM if first == signal.SIGHUP else first, self._options.grace)

    def _pass_on_store(self) -> None:
        for line in self._store.lines():
            self._terminals[1].say(line)

    def _stop(self, signum: int, grace: float) -> None:
        for process in self._running.values():
            process.send(signum)
        self._deadline = time.monotonic() + grace

    def _reap(self, process: RankProcess, selector: selectors.BaseSelector) -> Ended:
        for fd in (process.pidfd, *(stream.fd for stream in process.streams)):
            self._open.pop(fd, None)
            if fd in selector.get_map():
                selector.unregister(fd)
        self._guard.ended(process.pid)
        end = process.reap()
        self._store.report(end)
        del self._running[process.rank]
        self._ended.append(end)
        return end

    def _report(self) -> int:
        """The exit status; says what happened, the root cause last."""
        say = self._terminals[1].say
        self._ended.sort(key=lambda e: e.rank)
        saved = [str(e.rank) for e in self._ended if e.saved]
        killed = [e for e in self._ended if e.by_us == signal.SIGKILL and e.status < 0]
        first = self._signals.first
        if first is not None and self._passed_on:
            name = signal.Signals(first).name
            for end in self._ended:
                say(f"rank {end.rank} ended with {end} after {name}")
            if killed:
                return self._say_killed(f"{name} stopped the job", killed)
            code = 128 + first
            if self._failed is not None or saved:
                code = SAVED if self._failed is None else self._failed.exit_code
            say(f"{name} stopped the job; every rank ended by itself; exit status {code}")
            return code
        if self._failed is None and saved:
            ranks = "rank" if len(saved) == 1 else "ranks"
            stopped = f"a signal stopped the job; {ranks} {', '.join(saved)} saved"
            if killed:
                return self._say_killed(stopped, killed)
            say(f"{stopped}; no rank failed; the same command goes on; exit status {SAVED}")
            return SAVED
        if self._failed is None:
            return 0
        cause = self._cause(self._failed)
        self.at_fault = cause.rank if cause.blamed is None else cause.blamed.rank
        self._say_cause(cause)
        return cause.exit_code

    def _say_killed(self, why: str, killed: list[Ended]) -> int:
        ranks = ", ".join(str(e.rank) for e in killed)
        self._terminals[1].say(
            f"{why}; rank(s) {ranks} on {self._host} did not end within {self._options.grace:g} s "
            "and got SIGKILL, so what they were saving may be incomplete; --grace gives them longer"
        )
        return 128 + signal.SIGKILL

    def _cause(self, first: Ended) -> Ended:
        """Who failed by itself: whoever gave up because of others may have ended before."""
        if not first.gave_up:
            return first
        others = [
            e
            for e in self._ended
            if e.status != 0 and not e.gave_up and not (e.by_us and e.status < 0)
        ]
        return min(others, key=lambda e: e.seconds, default=first)

    def _say_cause(self, cause: Ended) -> None:
        say = self._terminals[1].say
        others = [e for e in self._ended if e is not cause]
        if others:
            list_ = ", ".join(f"rank {e.rank} ({e})" for e in others)
            say(f"also ended: {list_}")
        if cause.tail:
            lines = "".join(f"\n    {line}" for line in cause.tail)
            say(f"the last lines of rank {cause.rank}:{lines}")
        if cause.why:
            say(cause.why)
        if cause.blamed is not None:  # one that hangs or is stopped ends by us alone
            operation, failure = cause.blamed.operation, cause.blamed.failure
            say(f"root cause, as rank {cause.rank} says of {operation}: {failure}")
            return
        say(
            f"root cause: rank {cause.rank} on {self._host} (process {cause.pid}) ended with "
            f"{cause} after {cause.seconds:.1f} s"
        )
