# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.dist` at a tiny size, as `make bench-dist` runs it.

Speeds are not looked at: other tests run meanwhile. What must hold is that all ranks train alike.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from launching import PACKAGE

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / ".venv-bench" / "bin" / "python"


def measure(python: str, output: Path, *words: str) -> tuple[dict[str, Any], str]:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("two ranks need two cores")
    tiny = ["--quick", "--only", "mlp", "--batch", "4", "--output", str(output)]
    environ = {k: v for k, v in os.environ.items() if not k.startswith("OSTRIA_")}
    ended = subprocess.run(
        [python, "-m", "benchmarks.dist", *tiny, *words],
        cwd=ROOT,
        env={**environ, "PYTHONPATH": PACKAGE},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (path,) = output.glob("*-quick*.json")
    record: dict[str, Any] = json.loads(path.read_text())
    assert record["machine"]["cpu"] in ended.stdout
    assert record["failures"] == []
    return record, ended.stdout


def losses(record: dict[str, Any]) -> dict[tuple[str, str, int], float]:
    own = [r for r in record["records"] if r["mode"] != "strategy_sharded_state"]
    return {(r["framework"], r["workload"], r["batch"]): r["final_loss"] for r in own}


def test_two_ranks_are_measured_beside_one(tmp_path: Path) -> None:
    record, out = measure(sys.executable, tmp_path)
    found = losses(record)
    pair, one = ("ostria", "mlp_2_ranks", 8), ("ostria", "mlp_1_rank", 8)
    assert {pair, one, ("ostria", "mlp_1_rank", 4)} <= set(found)
    assert found[pair] == pytest.approx(found[one], rel=1e-4), "two ranks train like one"
    (sharded,) = [r for r in record["records"] if r["mode"] == "strategy_sharded_state"]
    assert sharded["final_loss"] == pytest.approx(found[one], rel=1e-4)
    assert found["ostria", "mlp_1_rank", 4] != pytest.approx(found[one], rel=1e-4)
    for made in record["records"]:
        assert len(made["windows"]) == record["protocol"]["windows"] == 3
    modes = ("strategy", "strategy_sharded_state")
    kinds = [(row["workload"], row["same"], row["mode"]) for row in record["scaling"]]
    same = ("batch per rank", "global batch")
    first, second = ([("mlp", what, mode) for mode in modes] for what in same)
    assert kinds == [*first, ("mlp", "nothing exchanged", "apart"), *second]
    for row in record["scaling"]:
        assert 0 < row["p10"] <= row["efficiency"] <= row["p90"] < math.inf
    (judged,) = [row for row in record["scaling"] if row["target"]]
    rows = [row for row in record["scaling"] if row["same"] == "batch per rank"]
    assert judged["efficiency"] == max(row["efficiency"] for row in rows)
    assert (judged["target"], judged["met"]) == (0.9, judged["efficiency"] >= 0.9)
    if record["skipped"]:
        assert "skipped: torch: " in out and record["ratios"] == []


def test_pytorch_trains_the_same_beside_it(tmp_path: Path) -> None:
    code = "import torch.distributed as d, sys; sys.exit(not d.is_gloo_available())"
    if not PEERS.exists() or subprocess.run([PEERS, "-c", code], check=False).returncode:
        pytest.skip("no PyTorch with Gloo in .venv-bench; `make bench-dist` installs it")
    if subprocess.run(
        [PEERS, "-c", "import ostria"], check=False, env={"PYTHONPATH": PACKAGE}
    ).returncode:
        pytest.skip(f"{PEERS} cannot load the ostria in {PACKAGE}")
    record, _ = measure(str(PEERS), tmp_path, "--torch-mode", "ddp")
    found = losses(record)
    theirs, ours = found["torch", "mlp_2_ranks", 8], found["ostria", "mlp_2_ranks", 8]
    assert theirs == pytest.approx(ours, rel=2e-3)
    (ratio,) = record["ratios"]
    assert (ratio["workload"], ratio["peer_mode"]) == ("mlp_2_ranks", "ddp")
    assert (ratio["target"], ratio["met"]) == (1.3, ratio["ratio"] >= 1.3)
