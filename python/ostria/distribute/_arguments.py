# SPDX-License-Identifier: Apache-2.0
"""Arguments of strategies: each is checked before it is used, also where nothing would use it.

A program is written on one device and then run on many, so what would fail there fails here.
"""

from __future__ import annotations

import math
import numbers
import operator
from typing import Any

from ostria import _device, _native
from ostria._errors import at_line
from ostria.distribute._environment import WorkerEnvironment

_TRANSPORTS = ("auto", "shm", "gloo", "hierarchical", "mpi")


def device_names(what: str, devices: Any) -> list[str]:
    """The canonical names of `devices`.

    Raises:
        TypeError: they are no list of names.
        ValueError: they are a text or none at all, or a name is none of a device.
    """
    if isinstance(devices, str):
        raise ValueError(
            at_line(
                f"{what}: devices is the text {devices!r}; give a list of names, such as "
                f"[{devices!r}]"
            )
        )
    try:
        names = list(devices)
    except TypeError:
        here = _device.devices()[1:3] or ["cpu:0", "cpu:1"]
        raise TypeError(
            at_line(
                f"{what}: devices is {devices!r}, of type {type(devices).__name__}; give a list of "
                f"names, such as {here}, or leave it out"
            )
        ) from None
    if not names:
        raise ValueError(
            at_line(
                f"{what}: devices is empty, so no device is given; name at least one, such "
                "as ['cpu'], or leave devices out"
            )
        )
    return [_native.device_name(name) for name in names]


def seconds(what: str, timeout: Any) -> float:
    """`timeout` as a float.

    Raises:
        ValueError: it is no number of seconds that can pass.
    """
    is_number = isinstance(timeout, numbers.Real) and not isinstance(timeout, bool)
    if not (is_number and timeout > 0 and math.isfinite(timeout)):
        raise ValueError(
            at_line(f"{what}: timeout {timeout!r} is not accepted; give seconds, more than 0")
        )
    return float(timeout)


def checked_transport(what: str, transport: Any) -> str:
    """`transport`, which is one of those there are.

    Raises:
        ValueError: it is not.
    """
    if transport not in _TRANSPORTS:
        known = ", ".join(repr(name) for name in _TRANSPORTS[:-1])
        raise ValueError(
            at_line(
                f"{what}: transport {transport!r} is not known; give {known} or {_TRANSPORTS[-1]!r}"
            )
        )
    return str(transport)


def checked_resolver(what: str, resolver: Any) -> WorkerEnvironment | None:
    """`resolver`, which is a WorkerEnvironment or None.

    Raises:
        TypeError: it is not.
    """
    if resolver is not None and not isinstance(resolver, WorkerEnvironment):
        raise TypeError(
            at_line(
                f"{what}: cluster_resolver is {resolver!r}, of type {type(resolver).__name__}; "
                "give what ost.distribute.read_environment() returned, or leave it out and set the "
                "launcher's variables, such as OSTRIA_RENDEZVOUS=host:port"
            )
        )
    return resolver


def axis_number(what: str, axis: Any) -> int:
    """`axis` as an int; whether a tensor has it is another question.

    Raises:
        TypeError: it is no integer.
    """
    try:
        return operator.index(axis)
    except TypeError:
        raise TypeError(
            at_line(
                f"{what}: axis is {axis!r}, of type {type(axis).__name__}; give the number "
                "of one axis, such as 0"
            )
        ) from None


def require_function(dataset_fn: Any) -> None:
    """Raises TypeError where it cannot be called, such as a dataset."""
    if not callable(dataset_fn):
        raise TypeError(
            at_line(
                f"distribute_datasets_from_function: {dataset_fn!r} is a "
                f"{type(dataset_fn).__name__} and no function; give one that takes an InputContext "
                "and returns a data.Dataset, or give a dataset to experimental_distribute_dataset"
            )
        )
