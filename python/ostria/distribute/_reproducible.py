# SPDX-License-Identifier: Apache-2.0
"""`reproducible=True`: the same bits on however many devices or processes a job has.

Such a job always has the same number of replicas, its virtual shards. They are spread evenly over
what is there, each computes on one thread, and all sums are those of one tree over the shards, so
nothing that a replica computes depends on where it runs.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence

from ostria import _native
from ostria._errors import at_line

_SHARDS = 8  # where the user names no number


def shard_devices(
    what: str, devices: Sequence[str], shards: int | None, workers: int = 1
) -> list[str]:
    """A virtual device for each shard of this process, those of a device behind each other.

    The first shard of a device is on the device itself.

    Args:
        what: the strategy, for messages.
        devices: canonical names of this process's devices.
        shards: of the whole job; None: 8.
        workers: processes of the job, with as many devices each.

    Raises:
        ValueError: the number is no power of two, the devices are no CPUs, or there is a number of
            them that does not divide it.
    """
    shards = _SHARDS if shards is None else shards
    if type(shards) is not int or shards < 2 or shards & (shards - 1):
        raise ValueError(
            at_line(
                f"{what}: virtual_shards={shards!r} is not accepted; give a power of two from 2 "
                "on, such as 8: as many devices as the job may ever have"
            )
        )
    if other := [name for name in devices if not name.startswith("cpu")]:
        raise ValueError(
            at_line(
                f"{what}: reproducible=True is for the CPU, and {other[0]} is none: NCCL adds in "
                "an order of its own, and takes one replica of a job per GPU; give "
                "devices=['cpu'], or leave reproducible out"
            )
        )
    if len(set(devices)) != len(devices):
        return list(devices)  # a mistake that the group names
    count = workers * len(devices)
    if shards % count:
        accepted = [str(1 << i) for i in range(shards.bit_length())]
        of = f"{workers} processes with {len(devices)} each" if workers > 1 else "one process"
        raise ValueError(
            at_line(
                f"{what}: {shards} virtual shards cannot be spread evenly over {count} devices "
                f"({of}); use {', '.join(accepted[:-1])} or {accepted[-1]}, or give other "
                "virtual_shards, the same in every run that is to have the same bits"
            )
        )
    every = (_native.device_name(f"cpu:{i}") for i in itertools.count())
    unused = (name for name in every if name not in devices)
    names: list[str] = []
    for device in devices:
        names += [device, *itertools.islice(unused, shards // count - 1)]
    return names


def check_unused(what: str, shards: int | None) -> None:
    """Raises ValueError where virtual shards are asked for, but no reproducible job."""
    if shards is not None:
        raise ValueError(
            at_line(
                f"{what}: virtual_shards={shards!r} is given, but not reproducible=True, without "
                "which replicas are as many as devices; give both, or neither"
            )
        )


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Inside, the calling thread computes alone, whatever its share of threads is."""
    before = _native.num_threads()
    _native.set_num_threads(1)
    try:
        yield
    finally:
        _native.set_num_threads(before)
