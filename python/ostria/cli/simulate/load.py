# SPDX-License-Identifier: Apache-2.0
"""How busy other processes keep this machine meanwhile: what is timed is worth as much as that."""

from __future__ import annotations

import os
import time
from pathlib import Path


class Load:
    """Counts from when it was made."""

    def __init__(self) -> None:
        self._begin, self._all, self._own = time.monotonic(), _busy(), _own()

    def other_cores(self) -> float:
        """Cores that others kept busy, as a mean; 0.0 where the system does not say."""
        wall = time.monotonic() - self._begin
        others = _busy() - self._all - (_own() - self._own)
        return max(0.0, others / wall) if wall > 0 else 0.0


def _busy() -> float:
    """Seconds of all cores, without idle and waiting for disks."""
    try:
        words = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    except (OSError, IndexError):
        return 0.0
    ticks = [int(word) for word in words]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def _own() -> float:
    return sum(os.times()[:4])
