# SPDX-License-Identifier: Apache-2.0
"""Rank 0 of a world whose other ranks are not there: what `ostria simulate` switches on.

While a `Simulation` is current, a MultiWorkerMirroredStrategy is given rank 0 of as many ranks as
asked for. Its graphs, plans, buckets and shares of data are those of that world, and really run
here; its collectives are written down (csrc/dist/modelled.h); its control channel is a real one,
of one member. No figure is made here: ``ostria.cli.simulate`` reads what was noted.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ostria import _native
from ostria._errors import at_line
from ostria.distribute._control import Control

if TYPE_CHECKING:
    from ostria.distribute._environment import WorkerEnvironment
    from ostria.distribute._function import ReplicaFunction
    from ostria.distribute._workers import MultiWorkerMirroredStrategy


class StepsDone(BaseException):
    """Ends a script whose steps were all seen; ``except Exception`` lets it by."""

    _raised_on_all_ranks = True  # no failure that a strategy tells others of


@dataclass
class Run:
    """One call of a function by the strategy; times are nanoseconds of the monotonic clock."""

    function: ReplicaFunction
    begin: int
    end: int = 0


@dataclass
class Simulation:
    """What rank 0 of `world` ranks does until it has done `steps` steps.

    A step is a run of the function that is named so, else of that which reduces the most bytes in
    one run; in a world of one, of the function that was run first.
    """

    world: int
    steps: int
    function: str = ""
    log: _native.CallLog = field(default_factory=_native.CallLog)
    runs: list[Run] = field(default_factory=list)
    strategies: list[MultiWorkerMirroredStrategy] = field(default_factory=list)
    stopped: int | None = None  # when the step after the last began; None where the script ended
    _reduced: dict[ReplicaFunction, int] = field(default_factory=dict)  # bytes of a run, at most
    _counts: dict[ReplicaFunction, int] = field(default_factory=dict)

    # --- For MultiWorkerMirroredStrategy ----------------------------------------------------------

    def adopt(self, strategy: MultiWorkerMirroredStrategy) -> None:
        """A strategy was made, and knows its devices."""
        if strategy._reproducible:
            raise ValueError(
                at_line(
                    "ostria simulate: how long ranks take to add in the order of reproducible=True "
                    "is not modelled; leave it out here"
                )
            )
        devices = strategy.devices
        if len(devices) > 1 or devices[0].split(":")[0] != "cpu":
            raise ValueError(
                at_line(
                    f"ostria simulate: devices are {devices}; accepted is one of the CPU, where "
                    "rank 0 runs: leave devices out, and count each device as a rank of --world; "
                    "--step-time gives the time that a step takes on another device"
                )
            )
        self.strategies.append(strategy)

    def connect(self, worker: WorkerEnvironment) -> Control:
        """The control channel of a job of this process alone, which answers all that is asked."""
        secret = _native.dist.generate_secret()
        return Control(0, 1, job="simulate", address="127.0.0.1", secret=secret, host="localhost")

    def replicas(self, _client: Any, devices: list[str], *_: Any) -> _native.ReplicaGroup:
        """As `_native.worker_replicas`."""
        return _native.modelled_replicas(devices[0], self.world, self.log)

    @contextlib.contextmanager
    def running(
        self, function: ReplicaFunction, run: contextlib.AbstractContextManager[None]
    ) -> Iterator[None]:
        """Around each run, which `run` is around as well.

        Raises:
            StepsDone: all steps were done before this one.
        """
        if function is self.step and self._counts[function] >= self.steps:
            self.stopped = time.monotonic_ns()
            raise StepsDone
        before = self.log.reduced_bytes
        note = Run(function, time.monotonic_ns())
        with run:
            yield
        note.end = time.monotonic_ns()
        self.runs.append(note)
        self._counts[function] = self._counts.get(function, 0) + 1
        reduced = self.log.reduced_bytes - before
        self._reduced[function] = max(reduced, self._reduced.get(function, 0))

    # --- What was seen ----------------------------------------------------------------------------

    @property
    def step(self) -> ReplicaFunction | None:
        """The function whose runs are steps, as far as is known; None before any run."""
        known = [f for f in self._reduced if self.function in ("", str(f.name))]
        return max(known, key=lambda f: self._reduced[f], default=None)

    def planned(self) -> tuple[Any, dict[str, int]]:
        """The step's native graph, of the trace that ran most, and the sizes of its symbols."""
        assert self.step is not None
        entries = [e for e in self.step._entries.values() if e.last_inputs is not None]
        entry = max(entries, key=lambda e: int(e.compiled.calls))
        assert entry.last_inputs is not None
        return entry.compiled, self.step._sizes(entry.last_inputs)

    def reduced_bytes(self, function: ReplicaFunction) -> int:
        """That one run of a function reduces."""
        return self._reduced[function]


class RealRun(Simulation):
    """One rank of ranks that are all there: its steps are timed and end alike."""

    def adopt(self, strategy: MultiWorkerMirroredStrategy) -> None:
        self.strategies.append(strategy)

    def connect(self, worker: WorkerEnvironment) -> Control:
        from ostria.distribute._workers import _connect  # which imports this file

        return _connect(worker)

    def replicas(self, client: Any, devices: list[str], *others: Any) -> _native.ReplicaGroup:
        return _native.worker_replicas(client, devices, *others)


_current: Simulation | None = None


def current() -> Simulation | None:
    """The one that runs; None outside of `ostria simulate`."""
    return _current


@contextlib.contextmanager
def active(simulation: Simulation) -> Iterator[Simulation]:
    """Makes it the current one, and closes its strategies in the end."""
    global _current
    outer, _current = _current, simulation
    try:
        yield simulation
    finally:
        _current = outer
        for strategy in simulation.strategies:
            strategy.close()
