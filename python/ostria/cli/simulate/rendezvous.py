# SPDX-License-Identifier: Apache-2.0
"""How long ranks take to meet: measured (csrc/dist/control/join_time.h), and beyond what one
machine can hold, computed from what was measured."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from dataclasses import dataclass

from ostria._errors import at_line
from ostria._native import DistributedError, dist
from ostria.cli.simulate.fitting import fit

# That a rank takes: a server allows itself two, and here all clients are in its process.
_DESCRIPTORS = 4


@dataclass(frozen=True)
class Rendezvous:
    """Attributes:
    joined: ((ranks, seconds), …) as measured, the largest last; empty where none joined.
    seconds: for the whole world.
    is_measured: whether as many as that joined.
    error: by how much the curve through the measured ones is off at most, as a share; 0 where
      nothing was computed.
    """

    joined: tuple[tuple[int, float], ...]
    seconds: float
    is_measured: bool
    error: float = 0.0


def measure(world: int, joined: int) -> Rendezvous | None:
    """Lets `joined` ranks meet, and fewer where the world is larger than that; None for 0.

    Raises:
      ValueError: the machine does not let so many meet.
    """
    if joined == 0:
        return None
    _allow_descriptors(_DESCRIPTORS * joined + 256)
    try:
        if joined == world:
            seconds = dist.measure_join(world)
            return Rendezvous(((world, seconds),), seconds, True)
        sizes = sorted({max(1, joined // 4), max(1, joined // 2), joined})
        points = [(n, min(dist.measure_join(n) for _ in range(2))) for n in sizes]
    except (DistributedError, RuntimeError) as error:
        raise ValueError(
            at_line(
                f"ostria simulate: {joined} ranks do not meet on this machine; give "
                f"--rendezvous fewer, or 0: {error}"
            )
        ) from None
    seconds, off = extrapolate(points, world)
    return Rendezvous(tuple(points), seconds, False, off)


def _allow_descriptors(count: int) -> None:
    """Raises this process's limit of open files, as far as it may be raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    most = count if hard == resource.RLIM_INFINITY else min(count, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def extrapolate(points: Sequence[tuple[int, float]], world: int) -> tuple[float, float]:
    """Seconds for `world` ranks by a n + b n^2, and the largest error of that at the points.

    A rank costs a handshake, and is told of all others.
    """
    found = fit(points, lambda n: n, lambda n: n * n)
    return found.first * world + found.second * world * world, found.error
