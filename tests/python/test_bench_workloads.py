# SPDX-License-Identifier: Apache-2.0
"""The framework-free parts of the workloads: examples, networks, optimizer formulas, curves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import chart, machine, peers, stats, suites  # noqa: E402
from benchmarks.models import (  # noqa: E402
    char_gpt,
    data,
    growth,
    job,
    lstm,
    own,
    resnet,
    rows,
    rules,
    wide_deep,
)

import ostria as ost  # noqa: E402


def test_a_job_takes_its_batches_in_turn() -> None:
    seen: list[int] = []

    def step(x: int) -> int:
        seen.append(x)
        return x

    made = job.StepJob(step, [(1,), (2,), (3,)])
    assert made.advance(2) == 2
    assert made.advance(2) == 1
    assert seen == [1, 2, 3, 1]
    assert made.example() == (1,)


def test_a_sample_shows_sizes_not_signs() -> None:
    assert job.sample(np.array([[-2.0, 2.0]], np.float32)) == 2
    assert job.sample(np.full(10**6, -3, np.float32)) == 3


class _NumPy:
    sqrt, expm1 = np.sqrt, np.expm1


def _torch_like(rule: Any, steps: int) -> float:
    w, slots = np.float64(1.0), tuple(np.float64(s) for s in rule.slots)
    for t in range(1, steps + 1):
        w, slots = rule.update(_NumPy, w, 0.5 * w, slots, rule.scalars(_NumPy, t))
    return float(w)


def test_formulas_are_those_of_the_papers() -> None:
    assert _torch_like(rules.Momentum(0.1), 2) == pytest.approx(0.95**2)
    assert _torch_like(rules.Momentum(0.1, 0.9), 2) == pytest.approx(0.95 - 0.045 - 0.0475)
    assert _torch_like(rules.AdamW(0.1), 1) == pytest.approx(0.9)  # the first step is the rate
    assert _torch_like(rules.AdamW(0.1, 0.5), 1) == pytest.approx(0.85)
    assert _torch_like(rules.Adagrad(0.1), 1) == pytest.approx(1 - 0.05 / np.sqrt(0.35))


@pytest.mark.parametrize(
    ("net", "parameters"), [(resnet.CIFAR_18, 11_173_962), (resnet.IMAGENET_50, 25_557_032)]
)
def test_residual_networks_have_the_known_sizes(net: resnet.Net, parameters: int) -> None:
    units = resnet.plan(net)
    convolutions = sum(w * w * i * o + 2 * o for w, _, i, o, _ in units)
    assert convolutions + (units[-1][3] + 1) * net.classes == parameters


class _Shapes:
    """Layers that compute only (height, channels)."""

    def unit(self, x: Any, unit: Any, stride: int, border: int) -> Any:
        window, _, inputs, outputs, _ = unit
        assert x[1] == inputs
        return _Shape((x[0] + 2 * border - window) // stride + 1, outputs)

    def relu(self, x: Any) -> Any:
        return x

    def max_pool(self, x: Any) -> Any:
        return _Shape((x[0] - 1) // 2 + 1, x[1])

    def mean(self, x: Any) -> Any:
        return x

    def dense(self, x: Any, head: Any) -> Any:
        return x


class _Shape(tuple[int, int]):
    def __new__(cls, size: int, channels: int) -> _Shape:
        return super().__new__(cls, (size, channels))

    def __add__(self, other: Any) -> Any:
        assert self == other
        return self


def test_a_forward_pass_uses_every_unit_at_its_size() -> None:
    for net, size, end in ((resnet.CIFAR_18, 32, (4, 512)), (resnet.IMAGENET_50, 224, (7, 2048))):
        units = resnet.plan(net)
        assert resnet.forward(net, _Shapes(), units, None, _Shape(size, 3)) == end
        with pytest.raises(ValueError, match="shorter"):
            resnet.forward(net, _Shapes(), units[:-1], None, _Shape(size, 3))


def test_folding_a_normalisation_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    kernel, gamma, beta = (rng.standard_normal(s) for s in ((1, 1, 3, 4), 4, 4))
    mean, var = rng.standard_normal(4), rng.uniform(1, 2, 4)
    given = resnet.Weights([(kernel, gamma, beta)], [(mean, var)], (kernel, beta))
    ((folded, bias),) = given.folded()
    x = rng.standard_normal(3)
    normal = (x @ kernel[0, 0] - mean) / np.sqrt(var + resnet.EPSILON) * gamma + beta
    assert np.allclose(x @ folded[0, 0] + bias, normal)


def test_examples_are_the_same_every_time_and_in_range() -> None:
    x, y = char_gpt.examples(2, 3)
    assert x.shape == y.shape == (3, 2, char_gpt.TIME)
    assert np.array_equal(x[..., 1:], y[..., :-1])
    assert 0 <= x.min() and y.max() < char_gpt.VOCABULARY
    words = lstm.Sizes(8, 50, 5)
    x, y = lstm.examples(words, 2, 3)
    assert x.shape == y.shape == (3, 2, words.time)
    assert np.array_equal(x[..., 1:], y[..., :-1])
    assert 0 <= x.min() and y.max() < words.vocabulary
    tables = wide_deep.Sizes(100, (4,))
    ids, numbers, clicks = wide_deep.examples(tables, 4, 2)
    assert ids.shape == (2, 4, wide_deep.TABLES) and numbers.shape == (2, 4, wide_deep.NUMERIC)
    assert 0 <= ids.min() and ids.max() < tables.rows
    assert set(np.unique(clicks)) <= {0.0, 1.0}
    drawn = rows.ids(10_000, rows.POOL)
    assert drawn.shape == (rows.POOL, rows.BATCH) and 0 <= drawn.min() and drawn.max() < 10_000
    assert len(np.unique(drawn, axis=0)) == rows.POOL  # no step reads the rows of another
    assert np.array_equal(rows.ids(10_000, 2), drawn[:2])
    for again, before in zip(wide_deep.examples(tables, 4, 2), (ids, numbers, clicks), strict=True):
        assert np.array_equal(again, before)


def test_the_executor_is_measured_with_a_step_per_node() -> None:
    x = ost.asarray([[1.0, 2.0], [3.0, 4.0]])
    function = own.products(100)
    function(x, x)
    assert "plan for null: 100 steps" in function.explain(runs=1)


def test_growth_is_the_slope_of_a_curve() -> None:
    figures = [
        (curve, "mode", size, "us", [float(size) ** power] * 3)
        for power, curve in enumerate(growth.CURVES)
        for size in (1, 10, 100)
    ]
    figures[0] = (*figures[0][:4], [1e6])  # small sizes do not count
    slopes = growth.exponents(figures)
    assert [s[0] for s in slopes] == [f"{curve}_growth" for curve in growth.CURVES]
    assert [s[4][0] for s in slopes] == pytest.approx([0, 1, 2, 3])


def test_curves_of_a_record_are_those_with_an_exponent() -> None:
    def record(
        workload: str, batch: int, metric: str, value: float, framework: str = "ostria"
    ) -> dict[str, Any]:
        base = {"workload": workload, "framework": framework, "mode": "dense", "batch": batch}
        return {**base, "metric": metric, **stats.summary([value])}

    records = [record("step_depth", n, "us/step", 2.0 * n) for n in (2, 4)]
    records += [record("step_depth_growth", 4, "exponent", 1.0)]
    records += [record("mlp", n, "us/step", 1.0) for n in (1, 2)]
    records += [record("point", 1, "us", 1.0), record("point_growth", 1, "exponent", 1.0)]
    assert list(chart._curves(records)) == ["step_depth"]
    (line,) = chart._curves(records)["step_depth"]
    assert [p["batch"] for p in line.points] == [2, 4] and line.exponent == 1.0
    records += [record("step_depth", n, "us/step", 9.0, "jax") for n in (2, 4)]
    records += [record("step_depth_growth", 4, "exponent", 0.0, "jax")]
    lines = chart._curves(records)["step_depth"]
    assert [(line.framework, line.exponent) for line in lines] == [("ostria", 1.0), ("jax", 0.0)]


def test_every_peer_of_a_suite_can_be_installed() -> None:
    named = {framework for suite in suites.all_suites() for framework in suite.modes}
    assert named == {stats.OURS, *peers.PEERS}
    for peer in peers.PEERS:
        assert (ROOT / "requirements" / f"bench-{peer}.txt").exists()


def test_pins_of_the_peers_agree() -> None:
    pins: dict[str, str] = {}
    for path in sorted((ROOT / "requirements").glob("bench*.txt")):
        for line in path.read_text().splitlines():
            if line and not line.startswith("#"):
                name, version = line.split("==")
                assert pins.setdefault(name.lower(), version) == version, (path.name, line)
    assert "tensorflow-cpu" in pins


def test_every_worker_has_a_heap_that_keeps_memory(monkeypatch: Any, tmp_path: Path) -> None:
    library = tmp_path / machine._ALLOCATOR
    monkeypatch.setattr(machine, "_allocator", lambda: library)
    settings = machine.environment()
    assert settings["LD_PRELOAD"] == str(library) and "decay_ms:-1" in settings["MALLOC_CONF"]
    monkeypatch.setattr(machine, "_allocator", lambda: None)
    settings = machine.environment()
    assert "LD_PRELOAD" not in settings and "MALLOC_TRIM_THRESHOLD_" in settings


def test_layers_start_small() -> None:
    kernel, bias = data.layer(np.random.default_rng(0), 30, 10)
    assert kernel.shape == (30, 10) and bias.shape == (10,)
    assert np.abs(kernel).max() <= np.sqrt(6 / 40)
