# SPDX-License-Identifier: Apache-2.0
"""The pure parts of benchmarks/: statistics, ratios, record format, stand-in libraries, table.

No framework is needed; the measuring itself runs in `make bench`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import driver, machine, stats, stubs, suites  # noqa: E402
from benchmarks.models import data  # noqa: E402


def record(framework: str, median: float, **fields: Any) -> dict[str, Any]:
    """A record with windows 10 % around the median."""
    windows = [0.9 * median, median, 1.1 * median]
    base = {"workload": "mlp", "mode": "compile", "batch": 32, "metric": "steps/s"}
    rest = {"first_step_s": 0.1, "peak_rss_mb": 100.0, "final_loss": 2.25, "windows": windows}
    rest["probed"] = False
    return {"framework": framework, **base, **stats.summary(windows), **rest, **fields}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_percentile_is_numpys(count: int, share: float) -> None:
    values = np.random.default_rng(count).random(count).tolist()
    assert stats.percentile(values, share) == pytest.approx(np.percentile(values, 100 * share))


def test_percentile_refuses_nothing_and_nonsense() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        stats.percentile([], 0.5)
    with pytest.raises(ValueError, match="share 50 is not accepted"):
        stats.percentile([1.0], 50)


def test_growth_exponent() -> None:
    sizes = [10.0, 100.0, 1000.0]
    assert stats.growth_exponent(sizes, [3 * s for s in sizes]) == pytest.approx(1)
    assert stats.growth_exponent(sizes, [s**1.5 for s in sizes]) == pytest.approx(1.5)
    assert stats.growth_exponent(sizes, [4.0, 4.0, 4.0]) == pytest.approx(0)
    with pytest.raises(ValueError, match="at least two sizes"):
        stats.growth_exponent([5, 5], [1, 2])
    with pytest.raises(ValueError, match="positive"):
        stats.growth_exponent([5, 6], [0, 2])


def test_growth_of_a_curve_is_per_mode() -> None:
    kind = {"workload": "rows_sgd", "metric": "us/step"}
    records = [record("ostria", 5.0, batch=n, **kind) for n in (10, 1000)]
    records += [record("jax", float(n), batch=n, mode="jit", **kind) for n in (10, 1000)]
    records += [record("torch", 5.0, batch=10, **kind)]  # one size is no curve
    assert stats.growth(records) == [
        ("rows_sgd_growth", "ostria", "compile", 1000, pytest.approx(0.0)),
        ("rows_sgd_growth", "jax", "jit", 1000, pytest.approx(1.0)),
    ]
    slopes = [{**r, "workload": "x_growth", "metric": stats.EXPONENT} for r in records]
    assert stats.ratios(slopes) == []


def test_ratio_takes_the_best_mode_of_the_best_peer() -> None:
    records = [
        record("ostria", 3000.0),
        record("ostria", 100.0, mode="slow"),
        record("torch", 1000.0),
        record("jax", 1500.0, mode="jit"),
        record("jax", 2000.0, mode="scan"),
    ]
    (row,) = stats.ratios(records)
    assert (row["mode"], row["peer"], row["peer_mode"]) == ("compile", "jax", "scan")
    assert row["ratio"] == pytest.approx(1.5)
    assert (row["target"], row["met"]) == (1.5, True)
    assert row["p10"] == pytest.approx(1.5) == row["p90"]  # window by window, not of sorted ends


def test_ratio_of_times_is_upside_down() -> None:
    kind = {"workload": "startup", "metric": "s"}
    (row,) = stats.ratios([record("ostria", 0.5, **kind), record("torch", 0.8, **kind)])
    assert row["ratio"] == pytest.approx(1.6)
    assert (row["target"], row["met"]) == (2.0, False)


def test_a_named_yardstick_ignores_faster_others() -> None:
    kind = {"workload": "compiled_call", "metric": "us/call", "batch": 1}
    records = [
        record("ostria", 2.0, **kind),
        record("jax", 4.0, **kind),
        record("torch", 1.0, **kind),
    ]
    (row,) = stats.ratios(records)
    assert (row["peer"], row["ratio"]) == ("jax", pytest.approx(2.0))


def test_no_ratio_without_both_sides() -> None:
    assert stats.ratios([record("ostria", 1.0)]) == []
    assert stats.ratios([record("torch", 1.0)]) == []
    with pytest.raises(ValueError, match="one metric"):
        stats.best([record("torch", 1.0), record("jax", 1.0, metric="s")])


def test_limits_judge_our_own_figures() -> None:
    own = {"workload": "executor", "metric": "ns/node", "batch": 1000, "mode": "null"}
    good, bad = stats.limits([record("ostria", 49.0, **own), record("ostria", 51.0, **own)])
    assert (good["met"], bad["met"]) == (True, False)
    assert stats.ratios([record("ostria", 49.0, **own), record("torch", 1.0, **own)]) == []


def test_a_skipped_step_shows_in_the_losses() -> None:
    records = [record("ostria", 1.0), record("torch", 1.0), record("jax", 1.0, final_loss=2.2501)]
    assert stats.same_losses(records, 1e-4) == []
    records[0]["final_loss"] = 2.26
    (problem,) = stats.same_losses(records, 1e-4)
    assert "ostria (compile) has the loss 2.26" in problem
    records[0]["final_loss"] = float("nan")
    assert len(stats.same_losses(records, 1e-4)) == 1
    other = record("torch", 1.0, batch=1, final_loss=9.0)
    assert stats.same_losses([record("jax", 1.0), other], 1e-4) == []


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("batch", "32", "wrong type"),
        ("batch", True, "wrong type"),
        ("probed", 1, "wrong type"),
        ("metric", None, "wrong type"),
        ("median", float("nan"), "finite"),
        ("final_loss", float("inf"), "finite"),
        ("p90", 1.0, "p10 <= median <= p90"),
    ],
)
def test_record_format(field: str, value: Any, message: str) -> None:
    good = record("ostria", 10.0)
    stats.check_record(good)
    with pytest.raises(ValueError, match=message):
        stats.check_record(good | {field: value})
    del good[field]
    with pytest.raises(ValueError, match=f"'{field}' is missing"):
        stats.check_record(good)


def test_report_shows_ratio_target_and_misses() -> None:
    own = {"workload": "trace_plan", "metric": "us/node", "batch": 50000, "mode": "null"}
    text = stats.report(
        [record("ostria", 1000.0), record("jax", 2000.0), record("ostria", 19.0, **own)]
    )
    missed = next(line for line in text.splitlines() if "MISSED" in line)
    assert missed.split() == [
        *("mlp", "[steps/s]", "compile", "jax", "(compile)", "32"),
        *("1,000", "2,000", "0.50", "0.50..0.50", "1.50", "MISSED"),
    ]
    budget = next(line for line in text.splitlines() if line.startswith("trace_plan"))
    assert budget.split() == ["trace_plan", "null", "us/node", "50000", "19.0", "20.0", "met"]
    assert stats.report([]) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0"),
        (0.01234, "0.0123"),
        (3.14159, "3.14"),
        (27.18, "27.2"),
        (12345.6, "12,346"),
    ],
)
def test_number(value: float | None, text: str) -> None:
    assert stats.number(value) == text


def _speeds(text: str) -> list[tuple[str, list[str]]]:
    """(the record that it names, its figures) of every paragraph that says how many times."""
    found = []
    for paragraph in text.split("\n\n"):
        if re.search(r"\d times\b", paragraph):
            names = re.findall(r"\[record\]\(([^)]*)\)", paragraph)
            words = re.sub(r"\]\([^)]*\)", "]", paragraph)
            found.append((names[0] if names else "", re.findall(r"\b\d+\.\d+\b", words)))
    return found


def test_speeds_in_the_documents_are_those_of_a_record() -> None:
    assert _speeds("a\n\nIt is 1.5 and\n2.5 times as fast.") == [("", ["1.5", "2.5"])]
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("*/README.md")]
    stated = [(p, *s) for p in documents for s in _speeds(p.read_text())]
    assert ROOT / "README.md" in {path for path, _, _ in stated}
    for path, name, figures in stated:
        assert name, f"{path}: says how many times, but names no record"
        assert "busy" not in name and "quick" not in name
        result = json.loads((path.parent / name).read_text())
        ratios = {f"{r['ratio']:.2f}" for r in result["ratios"]}
        assert set(figures) <= ratios, f"{path}: {set(figures) - ratios} are not in {name}"


def test_every_target_has_a_suite() -> None:
    found = {(s.workload, b): s for s in suites.all_suites() for b in s.batches}
    assert set(stats.PEER_TARGETS) <= set(found)
    assert set(stats.NAMED_TARGETS) <= {s.workload for s in found.values()}
    for suite in found.values():
        assert suite.modes[stats.OURS]
        assert suite.single or {"torch", "jax", "tensorflow"} <= set(suite.modes)
        assert (suite.metric == "GB/s") == bool(suite.step_bytes)


def test_only_names_modules_or_workloads() -> None:
    assert [s.workload for s in suites.all_suites(["eager"])] == ["eager_add", "compiled_call"]
    assert [s.workload for s in suites.all_suites(["compiled_call", "mlp"])] == [
        "mlp",
        "compiled_call",
    ]
    with pytest.raises(ValueError, match="'mpl' is not known; accepted are chain, char_gpt"):
        suites.all_suites(["mpl"])


def test_value_of_a_window() -> None:
    (mlp,), (cnn,) = suites.all_suites(["mlp"]), suites.all_suites(["cnn"])
    (call,) = suites.all_suites(["compiled_call"])
    assert mlp.value(300, 2.0, 128) == pytest.approx(150)
    assert cnn.value(10, 2.0, 128) == pytest.approx(640)
    assert call.value(1000, 0.004, 1) == pytest.approx(4)
    (softmax,) = suites.all_suites(["softmax"])
    assert softmax.value(100, 2.0, 1) == pytest.approx(100 * 2 * 4 * 4096**2 / 2.0 / 1e9)
    assert stats.larger_is_better("GB/s")


def test_weights_and_examples_are_the_same_every_time() -> None:
    for weights in (data.mlp_weights, data.cnn_weights):
        for (w, b), (w_again, b_again) in zip(weights(), weights(), strict=True):
            assert np.array_equal(w, w_again) and np.array_equal(b, b_again)
            assert w.dtype == b.dtype == np.float32
    x, y = data.examples(3, (5,))
    assert x.shape == (data.POOL, 3, 5) and y.shape == (data.POOL, 3)
    assert not np.array_equal(x[0], x[1])
    few, _ = data.examples(3, (5,), pool=1)
    assert np.array_equal(few[0], x[0])


def test_protocol_has_enough_windows() -> None:
    for protocol in (driver.Protocol(), driver.Protocol.quick()):
        assert min(protocol.windows, protocol.processes) >= 5
        assert protocol.probes >= 2
    assert min(driver.Protocol().windows, driver.Protocol().processes) >= 7


def test_windows_are_longer_where_steps_are() -> None:
    protocol = driver.Protocol(seconds=0.5, steps=16, longest=1.2)
    assert protocol.window_seconds(1e-4) == 0.5
    assert protocol.window_seconds(0.05) == pytest.approx(0.8)
    assert protocol.window_seconds(2.0) == 1.2


def test_machine_is_json() -> None:
    place = machine.describe()
    assert json.loads(json.dumps(place)) == place
    assert machine.slug("AMD EPYC(tm) 9B45, 2 cores") == "amd-epyc-tm-9b45-2-cores"
    assert machine.slug("()") == "cpu"
    busy, now = machine.cpu_ticks()
    assert 0 < busy <= now * len(machine.cores()) * 1.01


def test_load_is_what_others_used(monkeypatch: Any) -> None:
    ticks = iter([(100.0, 50.0), (103.0, 52.0), (103.0, 52.0)])
    monkeypatch.setattr(machine, "cpu_ticks", lambda: next(ticks))
    load = machine.Load()
    assert load.others(2.0) == pytest.approx(0.5)
    assert load.others(9.0) == 0


class CountingWorker(driver.Worker):
    """A worker that takes a millisecond a step, without a process."""

    def __init__(self, stride: int):
        self.first, self.calls = {"stride": stride}, []

    def run(self, steps: int) -> dict[str, Any]:
        self.calls.append(steps)
        return {"seconds": steps * 1e-3}


@pytest.mark.parametrize("stride", [1, 32])
def test_calibration_fills_a_window_with_whole_calls(stride: int) -> None:
    worker = CountingWorker(stride)
    worker.calibrate(0.5)
    assert worker.steps % stride == 0
    assert 500 <= worker.steps <= 500 + stride
    assert all(steps % stride == 0 for steps in worker.calls)


@pytest.mark.skipif(
    not shutil.which("gcc") or not shutil.which("readelf"), reason="needs gcc and readelf"
)
def test_stand_in_libraries_load_and_leave_real_ones_alone(tmp_path: Path) -> None:
    torch, cuda = tmp_path / "torch" / "lib", tmp_path / "nvidia" / "cu13" / "lib"
    torch.mkdir(parents=True)
    cuda.mkdir(parents=True)

    def build(source: str, output: Path, *more: str) -> None:
        (tmp_path / "source.c").write_text(source)
        command = ["gcc", "-shared", "-fPIC", "-o", str(output), str(tmp_path / "source.c"), *more]
        subprocess.run(command, check=True)

    # A library like torch's: wants a versioned and a plain CUDA library, calls neither when loaded.
    real = tmp_path / "libcublas.so.13"
    (tmp_path / "map").write_text("libcublas.so.13 { *; };")
    build(
        "void cublasGemm(void) {}",
        real,
        f"-Wl,-soname,{real.name},--version-script={tmp_path / 'map'}",
    )
    build("void ncclReduce(void) {}", cuda / "libnccl.so.2", "-Wl,-soname,libnccl.so.2")
    user = "void cublasGemm(void); void ncclReduce(void); void (*address)(void) = cublasGemm;"
    user += "int answer(int x) { if (x) { cublasGemm(); ncclReduce(); } return 42; }"
    libraries = [str(real), str(cuda / "libnccl.so.2"), "-Wl,-rpath,$ORIGIN/../../nvidia/cu13/lib"]
    build(user, torch / "libtorch_cuda.so", *libraries)
    real.unlink()
    kept = (cuda / "libnccl.so.2").read_bytes()

    def load() -> str:
        code = f"import ctypes; print(ctypes.CDLL({str(torch / 'libtorch_cuda.so')!r}).answer(0))"
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True
        ).stdout.strip()

    assert load() == ""
    assert stubs.write(tmp_path) == ["libcublas.so.13"]
    assert load() == "42"
    assert (cuda / "libnccl.so.2").read_bytes() == kept
    assert stubs.write(tmp_path) == []


def test_contenders_are_the_best_of_each_side_and_what_is_close() -> None:
    speeds = {("ostria", "a"): 30.0, ("ostria", "b"): 10.0, ("jax", "jit"): 9.0}
    speeds |= {("torch", "eager"): 7.0, ("torch", "compile"): 6.0}
    assert stats.contenders("mlp", "steps/s", speeds) == [
        *(("ostria", "a"), ("jax", "jit"), ("torch", "eager")),
    ]
    assert stats.contenders("mlp", "us/call", speeds) == [
        *(("ostria", "b"), ("torch", "eager"), ("torch", "compile")),
    ]
    # Where one peer is the yardstick, a faster other decides nothing.
    assert stats.contenders("chain", "us/call", speeds) == [("ostria", "b"), ("jax", "jit")]
    assert stats.contenders("mlp", "steps/s", {("jax", "jit"): 9.0}) == [("jax", "jit")]
    assert stats.contenders("mlp", "steps/s", {}) == []
    assert stats.fastest("steps/s", [1.0, 3.0]) == 3.0 and stats.fastest("s", [1.0, 3.0]) == 1.0


def test_a_probed_mode_decides_no_ratio() -> None:
    records = [
        record("ostria", 2000.0),
        record("ostria", 9000.0, mode="other", probed=True),
        record("torch", 5000.0, probed=True),
        record("jax", 1000.0),
    ]
    (row,) = stats.ratios(records)
    assert (row["mode"], row["peer"], row["ratio"]) == ("compile", "jax", pytest.approx(2.0))
    assert sum(line.endswith("probed") for line in stats.report(records).splitlines()) == 2


class ScriptedWorker(driver.Worker):
    """A worker without a process: so many seconds a step, or an error in a given window."""

    alive: list[tuple[str, str]]

    def __init__(self, framework: str, mode: str, cache: str):
        self.framework, self.mode = framework, mode
        self.made: list[int] = []
        self.alive.append(self.case)

    def answer(self) -> dict[str, Any]:
        return {"ready": True}

    def _ask(self, **command: Any) -> dict[str, Any]:
        if "make" in command:
            self.made.append(command["make"][1])
            return {"first_step_s": 0.1, "final_loss": 1.0, "stride": 1}
        if self.mode == "compile_step":
            raise driver.WorkerError("broken")
        seconds = {"ostria": 0.01, "torch": 0.04, "jax": 0.02, "tensorflow": 0.1}[self.framework]
        used = {"seconds": command["steps"] * seconds, "cpu_seconds": 0.0}
        return {**used, "loss": 1.0, "peak_rss_mb": 1.0}

    def close(self) -> None:
        self.alive.remove(self.case)


def test_a_worker_serves_all_batches_and_only_contenders_all_windows(monkeypatch: Any) -> None:
    ScriptedWorker.alive = []
    monkeypatch.setattr(driver, "Worker", ScriptedWorker)
    frameworks = ["ostria", "torch", "jax", "tensorflow"]
    run = driver.Run(driver.Protocol(), frameworks, lambda text: None)
    (suite,) = suites.all_suites(["mlp"])
    run.measure(suite, [1, 32])
    workers = dict(run._workers)
    assert workers["ostria", "compile"].made == [1, 32]
    assert ("torch", "compile_step") not in workers
    assert [f["case"] for f in run.failures] == [
        f"mlp batch {n} torch (compile_step)" for n in (1, 32)
    ]
    windows = {(r["framework"], r["mode"], r["batch"]): r for r in run.records}
    assert len(windows) == 2 * (len(suite.cases(frameworks)) - 1)
    for (framework, _, _), r in windows.items():
        full = framework in ("ostria", "jax")
        assert r["probed"] != full
        assert len(r["windows"]) == (run.protocol.windows if full else run.protocol.probes)
    assert {r["batch"]: r["ratio"] for r in stats.ratios(run.records)} == pytest.approx(
        {1: 2.0, 32: 2.0}
    )
    (curve,) = suites.all_suites(["rows_sgd"])
    run.measure(curve)
    slopes = [r for r in run.records if r["metric"] == stats.EXPONENT]
    assert [r["framework"] for r in slopes] == frameworks
    assert {r["workload"] for r in slopes} == {"rows_sgd_growth"}
    assert [r["median"] for r in slopes] == pytest.approx([0.0] * 4)
    (other,) = suites.all_suites(["chain"])
    run.measure(other)
    assert set(run._workers) == set(other.cases(frameworks))  # those of the last module are gone
    run.close()
    assert ScriptedWorker.alive == []
