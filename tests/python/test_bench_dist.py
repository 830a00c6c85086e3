# SPDX-License-Identifier: Apache-2.0
"""What benchmarks/dist prints: medians and ratios of windows that alternate."""

from __future__ import annotations

from typing import Any

import pytest
from benchmarks import stats
from benchmarks.dist.__main__ import Protocol, Run
from benchmarks.dist.all_reduce import measure
from benchmarks.dist.team import Apart


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


class Trained:
    """An entry of a team whose windows are known."""

    def __init__(self, framework: str, world: int, batch: int, speed: float, loss: float) -> None:
        self.team = self
        self.world, self._framework, self._batch = world, framework, batch
        self._windows, self._loss = [speed, speed * 2, speed / 2], loss

    def record(self, workload: str) -> dict[str, Any]:
        empty = {"first_step_s": None, "peak_rss_mb": None, "other_cores": 0.1, "probed": False}
        return empty | {
            "workload": workload,
            "framework": self._framework,
            "mode": "some",
            "batch": self._batch,
            "metric": "examples/s",
            **stats.summary(self._windows),
            "final_loss": self._loss,
            "ranks": self.world,
            "windows": self._windows,
        }


def entries(loss: float) -> list[Any]:
    return [
        Trained("ostria", 2, 128, 170.0, 0.5),
        Trained("ostria", 1, 64, 100.0, 0.7),
        Trained("ostria", 1, 128, 105.0, 0.5),
        Trained("torch", 2, 128, 125.0, loss),
    ]


def test_two_ranks_beside_one_and_beside_the_peer() -> None:
    run = Run(Protocol.quick(), {})
    run.add("cnn", entries(0.5), [])
    assert run.failures == run.warnings == []
    per_rank, whole = run.scaling
    assert per_rank["efficiency"] == pytest.approx(0.85)
    assert (per_rank["same"], per_rank["target"], per_rank["met"]) == ("batch per rank", 0.9, False)
    assert whole["efficiency"] == pytest.approx(170 / 210)
    assert (whole["same"], whole["met"]) == ("global batch", None)
    assert "0.85" in run.scaling_table() and "MISSED" in run.scaling_table()
    (ratio,) = stats.ratios(run.records)
    assert (ratio["workload"], ratio["target"], ratio["met"]) == ("cnn_2_ranks", 1.3, True)
    assert ratio["ratio"] == pytest.approx(1.36)


def test_scaling_is_the_median_of_rounds_and_two_alone_are_shown_beside_it() -> None:
    two, one, *others = entries(0.5)
    two._windows, one._windows = [180.0, 70.0, 190.0], [100.0, 50.0, 125.0]  # 0.9, 0.7, 0.76
    apart = Apart([])
    apart.windows = [200.0, 90.0, 200.0]
    run = Run(Protocol.quick(), {})
    run.add("cnn", [two, one, *others], [apart])
    ranks, alone, _ = run.scaling
    assert ranks["efficiency"] == pytest.approx(0.76)  # of the medians: 0.9
    assert (alone["same"], alone["mode"]) == ("nothing exchanged", "apart")
    assert alone["efficiency"] == pytest.approx(0.9)
    assert (alone["target"], alone["met"]) == (None, None)


def test_a_side_that_loses_otherwise_fails_the_run() -> None:
    run = Run(Protocol.quick(), {})
    run.add("cnn", entries(0.51), [])
    (failure,) = run.failures
    assert failure["case"] == "loss"
    assert "torch" in failure["reason"]
