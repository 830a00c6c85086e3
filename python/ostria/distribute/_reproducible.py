# SPDX-License-Identifier: Apache-2.0
"""`reproducible=True`: the same bits on however many devices or processes a job has.

Such a job always has the same number of replicas, its virtual shards. They are spread evenly over
what is there, each computes on one thread, and all sums are those of one tree over the shards, so
nothing that a replica computes depends on where it runs.
"""

from __future__ import annotations

import contextlib
import itertools
import numbers
from collections.abc import Iterator, Sequence

from ostria import _native
from ostria._errors import at_line

_SHARDS, _MOST = 8, 1024  # where the user names no number; threads that a process may be given


def replica_devices(
    what: str, devices: Sequence[str], reproducible: bool, shards: int | None, workers: int = 1
) -> list[str]:
    """The devices of this process's replicas: as given, or one for each of its shards.

    The first shard of a device is on the device itself, the others on virtual ones behind it.

    Args:
        what: the strategy, for messages.
        devices: canonical names of this process's devices.
        reproducible, shards: as the user gave them; shards are those of the whole job, None is 8.
        workers: processes of the job, with as many devices each.

    Raises:
        TypeError: `reproducible` is no bool.
        ValueError: the number of shards is none that is accepted, or given for no reproducible job,
            the devices are no CPUs, or there is a number of them that does not divide it.
    """
    if not isinstance(reproducible, bool):
        raise TypeError(
            at_line(
                f"{what}: reproducible={reproducible!r} is not accepted; give True, for the same "
                "bits on any number of devices, or False"
            )
        )
    if not reproducible:
        if shards is not None:
            raise ValueError(
                at_line(
                    f"{what}: virtual_shards={shards!r} is given, but not reproducible=True, "
                    "without which replicas are as many as devices; give both, or neither"
                )
            )
        return list(devices)
    shards = _SHARDS if shards is None else shards
    if isinstance(shards, numbers.Integral) and not isinstance(shards, bool):
        shards = int(shards)  # also of NumPy
    if type(shards) is not int or not 2 <= shards <= _MOST or shards & (shards - 1):
        raise ValueError(
            at_line(
                f"{what}: virtual_shards={shards!r} is not accepted; give a power of two from 2 "
                f"to {_MOST}, such as 8: as many devices as the job may ever have"
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
    if not devices or len(set(devices)) != len(devices):
        return list(devices)  # mistakes that the group names
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


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Inside, the calling thread computes alone, whatever its share of threads is."""
    before = _native.num_threads()
    _native.set_num_threads(1)
    try:
        yield
    finally:
        _native.set_num_threads(before)
