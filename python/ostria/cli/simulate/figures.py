# SPDX-License-Identifier: Apache-2.0
"""Numbers that say where they come from; a report has no others but what was given to it."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Origin = Literal["measured", "simulated", "modelled"]

MEANING = {
    "measured": "timed here, on this machine",
    "simulated": "what rank 0 of this world planned and did here, the other ranks being imagined",
    "modelled": "computed by a formula from figures and constants that are named",
}


class Figure(NamedTuple):
    """`value` in `unit`: "s", "B", "ranks", "cores", "1" for shares and counts, "" for a name."""

    value: float | int | str
    unit: str
    origin: Origin

    def __str__(self) -> str:
        return f"{self.text} [{self.origin}]"

    @property
    def text(self) -> str:
        """Without the origin, where a heading says it."""
        if isinstance(self.value, str):
            return self.value
        if self.unit == "s":
            return seconds_text(self.value)
        if self.unit == "B":
            return bytes_text(self.value)
        if self.unit == "1" and isinstance(self.value, float):
            return f"{100 * self.value:.1f} %"
        return f"{self.value:,.2f}" if isinstance(self.value, float) else f"{self.value:,}"


def seconds_text(seconds: float) -> str:
    for size, unit in ((1e-6, "ns"), (1e-3, "us"), (1.0, "ms")):
        if abs(seconds) < size:
            return f"{seconds / size * 1e3:.3g} {unit}" if seconds else "0 s"
    if seconds < 1000:
        return f"{seconds:.3g} s"
    return f"{seconds:,.0f} s" if seconds < 36_000 else f"{seconds / 3600:,.1f} h"


def bytes_text(count: float) -> str:
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "KB")):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count:.0f} B"


def as_json(data: Any) -> Any:
    """Figures as objects of value, unit and origin; all else stays."""
    if isinstance(data, Figure):
        return data._asdict()
    if isinstance(data, dict):
        return {key: as_json(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [as_json(value) for value in data]
    return data
