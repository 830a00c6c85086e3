# SPDX-License-Identifier: Apache-2.0
"""What benchmarks/dist prints: medians and ratios of windows that alternate."""

from __future__ import annotations

import pytest
from benchmarks.dist.all_reduce import measure


class Side:
    """Takes `seconds` per call and notes who was asked when."""

    def __init__(self, name: str, seconds: list[float], log: list[str]) -> None:
        self.name, self.seconds, self.log = name, seconds, log
        self.counts: set[int] = set()

    def time(self, count: int, repeats: int) -> float:
        assert repeats >= 3
        self.log.append(self.name)
        self.counts.add(count)
        return self.seconds.pop(0)


def test_windows_alternate_and_the_median_counts() -> None:
    log: list[str] = []
    ours = Side("ours", [0.01, 0.02, 9.0, 0.03], log)  # the first one only says how often to repeat
    peer = Side("torch", [0.01, 0.04, 0.05, 0.06], log)
    (row,) = measure(ours, peer, {"4 KB": 4000}, windows=3, seconds=0.1)
    assert log == ["ours", "torch", "torch", "ours", "ours", "torch", "torch", "ours"]
    assert ours.counts == peer.counts == {1000}
    assert row["ours_seconds"] == 0.03
    assert row["torch_seconds"] == 0.05
    assert row["ratio"] == pytest.approx(0.6)
    assert row["ours_windows"] == [0.02, 9.0, 0.03]
