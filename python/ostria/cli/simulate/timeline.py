# SPDX-License-Identifier: Apache-2.0
"""A step as rank 0 did it, and as it would go with the collectives of the model.

Computing is what was measured. What is started goes to one stream of communication, in its order,
and computing waits where the program waits; a call that nothing runs beside is waited for at once.
Communication is taken to cost no computing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ostria.cli.simulate.collectives import Model


class Call(NamedTuple):
    """A row of CallLog.calls()."""

    kind: str
    what: str
    bytes: int
    slot: int
    begin: int
    end: int


class Event(NamedTuple):
    """`compute` seconds, then a call; the last of a step has none."""

    compute: float
    call: Call | None


def events_of(begin: int, end: int, calls: Sequence[Call]) -> list[Event]:
    """What one rank did from `begin` to `end`, nanoseconds; `calls` are those between them."""
    events = []
    for call in calls:
        events.append(Event((call.begin - begin) * 1e-9, call))
        begin = call.end
    return [*events, Event((end - begin) * 1e-9, None)]


def compute_seconds(events: Sequence[Event]) -> float:
    return sum(event.compute for event in events)


@dataclass(frozen=True)
class Bucket:
    """A collective of the step; times are seconds from the step's begin.

    `ready` is when its data are there, `exposed` how long computing waited for it. Nothing was
    waited for before an `undelayed` one was ready.
    """

    kind: str
    what: str
    bytes: int
    overlapped: bool
    undelayed: bool
    ready: float
    start: float
    end: float
    algorithm: str
    exposed: float


@dataclass
class Schedule:
    """Seconds of a step, and what it is made of."""

    compute: float = 0.0
    step: float = 0.0
    buckets: list[Bucket] = field(default_factory=list)

    @property
    def exposed(self) -> float:
        """How long computing waits."""
        return sum(bucket.exposed for bucket in self.buckets)

    @property
    def communication(self) -> float:
        """How long the collectives take, hidden or not."""
        return sum(bucket.end - bucket.start for bucket in self.buckets)

    @property
    def efficiency(self) -> float:
        """Of what the ranks would do alone; the batch of a rank stays as it is."""
        return self.compute / self.step if self.step else 1.0


def schedule(events: Sequence[Event], model: Model, scale: float = 1.0) -> Schedule:
    """The step with computing `scale` times as long as measured, and modelled collectives."""
    done = Schedule()
    now = free = 0.0  # of computing; of the stream
    pending: dict[int, list[Bucket]] = {}  # by slot

    def put(call: Call, overlapped: bool) -> Bucket:
        nonlocal free
        kind = "all_reduce" if overlapped else call.kind
        estimate = model.seconds(kind, call.bytes)
        start = max(now, free)
        free = start + estimate.seconds
        return Bucket(
            kind,
            call.what,
            call.bytes,
            overlapped,
            now == done.compute,
            ready=now,
            start=start,
            end=free,
            algorithm=estimate.algorithm,
            exposed=0.0,
        )

    def close(bucket: Bucket) -> None:
        nonlocal now
        done.buckets.append(replace(bucket, exposed=max(0.0, bucket.end - now)))
        now = max(now, bucket.end)

    for event in events:
        done.compute += event.compute * scale
        now += event.compute * scale
        call = event.call
        if call is None:
            continue
        if call.kind == "start":
            pending.setdefault(call.slot, []).append(put(call, True))
        elif call.kind == "wait":
            for bucket in pending.pop(call.slot, ()):
                close(bucket)
        else:  # what was started before it comes first, as on every rank
            close(put(call, False))
    for rest in pending.values():  # a step is over when its collectives are
        for bucket in rest:
            close(bucket)
    done.step = now
    done.buckets.sort(key=lambda bucket: bucket.start)
    return done
