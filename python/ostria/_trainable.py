# SPDX-License-Identifier: Apache-2.0
"""The flag `trainable`: what a trace read of it is part of the key of a compiled function.

A trace is entered with `Reads`, which notes every module and Variable whose flag the function asked
for. While no flag anywhere changes, `version` stays, so a call costs one comparison.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

version = 0
_local = threading.local()


def note(holder: Any, flag: bool) -> bool:
    """Tells the running traces that the answer `flag` was given for `holder`; returns it."""
    for reads in getattr(_local, "reads", ()):
        reads.flags[id(holder)] = (holder, flag)
    return flag


def changed() -> None:
    """To be called when a flag is set to another value."""
    global version
    version += 1


class Reads:
    """The flags that were read while this was entered."""

    def __init__(self) -> None:
        self.flags: dict[int, tuple[Any, bool]] = {}

    def __enter__(self) -> Reads:
        _local.reads = (*getattr(_local, "reads", ()), self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _local.reads = _local.reads[:-1]

    def differences(self) -> list[str]:
        """What has another flag now, such as `encoder.trainable: False (was True)`."""
        return [
            f"{_name(holder)}.trainable: {not flag} (was {flag})"
            for holder, flag in self.flags.values()
            if holder._trainable != flag
        ]


def _name(holder: Any) -> str:
    return str(getattr(holder, "_path", "") or holder.name)
