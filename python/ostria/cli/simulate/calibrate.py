# SPDX-License-Identifier: Apache-2.0
"""Latency and bandwidth of this machine, by our own all_reduce between two processes of it.

An all_reduce of S bytes over two ranks takes 2 a + S / B by the model, whatever the algorithm. The
link within a host is measured over shared memory; that between hosts over Gloo on the loopback,
which is the same code as between hosts, and no network.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ostria._errors import at_line
from ostria.cli.simulate.fitting import fit
from ostria.cli.simulate.topology import MEASURED, Link

TRANSPORTS = {"intra": "shm", "inter": "gloo"}
SIZES = tuple(1 << power for power in range(12, 25, 2))  # bytes: 4 KiB to 16 MiB


def measure(place: str) -> Link:
    """The link "intra" or "inter".

    Raises:
      ValueError: the processes failed, and the message ends with what they said; or the times make
        no sense.
    """
    transport = TRANSPORTS[place]
    return link_of(time_all_reduce(transport), transport)


def link_of(points: Sequence[tuple[int, float]], transport: str) -> Link:
    """The link through (bytes, seconds) of all-reduces between two ranks.

    Raises:
      ValueError: larger ones took no longer.
    """
    found = fit(points, lambda _: 2.0, float)
    if found.second == 0.0:
        times = ", ".join(f"{size} bytes {seconds:.3g} s" for size, seconds in points)
        raise ValueError(
            at_line(
                f"--calibrate: over {transport} time does not grow with size ({times}); try again "
                "when the machine is idle, or give the link as a rate and a latency, such as "
                "10GB/s:5us"
            )
        )
    return Link(
        MEASURED,
        found.first,
        1 / found.second,
        f"all_reduce of {len(points)} sizes between two processes here, over {transport}; the "
        f"model is off by at most {found.error:.0%} there",
        is_measured=True,
    )


_PATIENCE = 300  # seconds; a measurement takes a few


def time_all_reduce(transport: str) -> list[tuple[int, float]]:
    """(bytes, seconds) of an all_reduce between two processes of this machine.

    Raises:
      ValueError: the processes failed; the message ends with what they said.
    """
    script = Path(__file__).with_name("calibrate_rank.py")
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "times.json"
        sizes = [str(size) for size in SIZES]
        words = [sys.executable, "-m", "ostria", "launch", "--nproc", "2", str(script)]
        try:
            done = subprocess.run(
                [*words, transport, str(result), *sizes],
                capture_output=True,
                text=True,
                timeout=_PATIENCE,
            )
        except subprocess.TimeoutExpired:
            raise ValueError(
                at_line(
                    f"--calibrate: two processes over {transport} took longer than {_PATIENCE} s; "
                    "give the link as a rate and a latency, such as 10GB/s:5us"
                )
            ) from None
        if done.returncode != 0 or not result.exists():
            raise ValueError(
                at_line(
                    f"--calibrate: two processes over {transport} failed; give the link as a rate "
                    f"and a latency, such as 10GB/s:5us\n{done.stderr}"
                )
            )
        return [(int(size), float(seconds)) for size, seconds in json.loads(result.read_text())]
