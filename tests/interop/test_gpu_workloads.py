# SPDX-License-Identifier: Apache-2.0
"""The workloads of `make gpu-bench` are the same in every framework: small ones, on the CPU."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.gpu import cases, kernels, verdicts  # noqa: E402
from benchmarks.models import gpu, target  # noqa: E402

MODES = {"torch": "eager", "jax": "jit", "ostria": "compile"}
TABLES = {"torch": "eager_dense", "jax": "jit_rows", "ostria": "compile_merged"}


@pytest.fixture(autouse=True)
def on_the_cpu() -> Iterator[None]:
    yield
    target.use("cpu", "float32")


def job(name: str, framework: str, precision: str) -> Any:
    pytest.importorskip(framework)
    target.use("cpu", precision)
    mode = (TABLES if name == "wide_deep" else MODES)[framework]
    return gpu.find(name).job(framework, mode, 4, True)


@pytest.mark.parametrize("workload", [*gpu.WORKLOADS, *gpu.OTHERS], ids=lambda w: w.name)
def test_losses_are_everybodys(workload: Any) -> None:
    losses = {
        framework: [made.advance(1) for _ in range(4)]
        for framework in MODES
        for made in [job(workload.name, framework, workload.precision)]
    }
    found = verdicts.compare(losses, cases.TOLERANCE[workload.precision])
    assert found["agree"], (found, losses)
    assert losses["ostria"][0] != losses["ostria"][-1]  # something is trained


@pytest.mark.parametrize("name", ["gpt2_124m", "wide_deep"])
def test_a_step_of_torch_can_be_rewound(name: str) -> None:
    made = job(name, "torch", gpu.find(name).precision)
    losses = [made.advance(1) for _ in range(3)]
    made.step.rewind()
    made._at = 0
    assert [made.advance(1) for _ in range(3)] == pytest.approx(losses, rel=1e-6)


NAMES = [*(k.name for k in kernels.MEMORY_BOUND if not k.random and k.name != kernels.ADAM)]
NAMES += ["attention_d64_s512", "matmul_bias_512x1024x1024", "matmul_gelu_512x1024x1024"]


@pytest.mark.parametrize("name", NAMES)
def test_kernels_compute_the_same(name: str) -> None:
    pytest.importorskip("torch")
    target.use("cpu", "float32")
    sizes = [kernels.make(name, f, MODES[f], 0, True).advance(1) for f in ("ostria", "torch")]
    assert sizes[0] == pytest.approx(sizes[1], rel=2e-2)
