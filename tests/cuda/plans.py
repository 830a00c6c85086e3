# SPDX-License-Identifier: Apache-2.0
"""The steps of benchmarks/models/gpu.py as they are planned for sm_90, without a GPU: a table.

    python tests/cuda/plans.py [--write] [--model NAME] [--text]

Compares with plans.txt beside this file, or writes it. Networks are made on the device "null", so
they take no memory. Bytes and kernels depend on the version of cuDNN, which the table names: with
another one only what must hold everywhere is checked.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("plans.txt")
DEVICE = ROOT / "tests/data/devices/h100.json"
NO_TRANSPOSES = ("resnet50", "gpt2_124m")
MOST_MOVED = 1.2  # times the fused bound
OVER: dict[str, float] = {}  # where that is not reached yet
MOST_PEAK = 1.05  # times what is alive at once
# Kernels of ours that stand in where a library refuses: none of these models needs one.
STAND_INS = ("attention_", "direct_", "depthwise_")


@dataclass(frozen=True)
class Row:
    """What the table says of one model."""

    name: str
    precision: str
    batch: int
    report: Any

    @property
    def moved_ratio(self) -> float:
        return self.report.moved_bytes / self.report.fused_bound_bytes

    @property
    def peak_ratio(self) -> float:
        return self.report.peak_bytes / self.report.least_bytes

    def text(self) -> str:
        r = self.report
        return (
            f"{self.name}: {self.precision}, batch {self.batch}; transposes {r.transposes}; "
            f"kernels {len(r.kernels)}; launches {r.launches}, copies {r.copies}; "
            f"moved {r.moved_bytes}, bound {r.fused_bound_bytes}, ratio {self.moved_ratio:.3f}; "
            f"peak {r.peak_bytes}, least {r.least_bytes}, ratio {self.peak_ratio:.3f}"
        )

    def complaints(self) -> list[str]:
        """What must hold whatever the version of cuDNN."""
        out = []
        if self.name in NO_TRANSPOSES and self.report.transposes:
            out.append(f"{self.name}: {self.report.transposes} transposes")
        out += [f"{self.name}: {k}" for k in self.report.kernels if k.startswith(STAND_INS)]
        if self.peak_ratio > MOST_PEAK:
            out.append(f"{self.name}: memory is {self.peak_ratio:.3f} times what is alive")
        if self.moved_ratio > OVER.get(self.name, MOST_MOVED):
            out.append(f"{self.name}: moves {self.moved_ratio:.3f} times the fused bound")
        if self.moved_ratio <= MOST_MOVED and self.name in OVER:
            out.append(f"{self.name}: moves {self.moved_ratio:.3f}; it is over no more")
        return out


def plan(workload: Any, device: Path = DEVICE) -> Row:
    """Makes a model that takes no memory, and plans its step."""
    import ostria as ost

    with ost.device("null"):
        step, inputs = workload.make(workload.batch)
        report = step.plan_for(device, *(np.empty(shape, dtype) for shape, dtype in inputs))
    return Row(workload.name, workload.precision, workload.batch, report)


def cudnn() -> str:
    """The version of cuDNN that this process has loaded: "9.19.0", or "none"."""
    maps = Path("/proc/self/maps").read_text()
    path = next((line.split()[-1] for line in maps.splitlines() if "libcudnn.so" in line), None)
    if path is None:
        return "none"
    version = ctypes.CDLL(path).cudnnGetVersion()
    return f"{version // 10000}.{version // 100 % 100}.{version % 100}"


def head() -> str:
    return (
        f"# Steps planned for an H100 with cuDNN {cudnn()}; written by tests/cuda/plans.py.\n"
        "# kernels: that differ; moved, bound, peak, least: bytes of one step (docs: PlanReport).\n"
    )


def excess(row: Row) -> str:
    """Where the bytes are, largest first."""
    moved = sorted(row.report.moved.items(), key=lambda item: -item[1])[:25]
    return "\n".join(f"  {bytes_ / 2**20:10.1f} MiB  {what}" for what, bytes_ in moved)


def main() -> int:
    """Compares or writes the table."""
    parser = argparse.ArgumentParser(prog="tests/cuda/plans.py")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--model", action="append")
    parser.add_argument("--text", action="store_true", help="print each plan whole")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from benchmarks.models import gpu

    lines = []
    for workload in gpu.WORKLOADS:
        if arguments.model and workload.name not in arguments.model:
            continue
        row = plan(workload)
        lines.append(row.text())
        print(row.report.text if arguments.text else f"{row.text()}\n{excess(row)}", flush=True)
    text = head() + "\n".join(lines) + "\n"
    if arguments.write:
        TABLE.write_text(text)
    elif not arguments.model and text != TABLE.read_text():
        print("the table is another one; --write writes it")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
