# SPDX-License-Identifier: Apache-2.0
"""The processes of `turns`: how one is started, told what to make, and timed window by window."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from benchmarks.child import Child, WorkerError
from benchmarks.gpu import cases
from benchmarks.gpu.record import ROOT


class Worker(Child):
    """A process of one framework; jobs of several modes of one case."""

    last_lines = 8

    def __init__(self, framework: str, device: str, folder: str):
        self.framework = framework
        self.kernels = Path(folder, f"kernels-{time.monotonic_ns()}")
        self.steps: dict[str, int] = {}
        self._is_loaded = False
        self._case = ""
        self._seconds: dict[str, float] = {}
        command = python("benchmarks.gpu.worker", framework, device)
        super().__init__(command, environment(device, folder, str(self.kernels)))

    def loaded_within(self, timeout: float) -> None:
        """Waits until it has imported its framework."""
        if not self._is_loaded:
            self.answer(timeout)
            self._is_loaded = True

    def begin(self, case: cases.Case, mode: str, is_tiny: bool) -> None:
        """Has it make a job; `answer` tells when it is done."""
        if self._case != case.label:
            self._case = case.label
            self.steps.clear()
        make = {"case": case.name, "batch": case.batch, "mode": mode}
        self.tell(make={**make, "precision": case.precision, "tiny": is_tiny})

    def calibrate(self, mode: str, seconds: float, timeout: float) -> None:
        """Finds how many steps fill a window."""
        count = 1
        while (took := self._run(mode, count, timeout)) < seconds / 4 and count < 100_000:
            count = int(count * min(10.0, max(2.0, seconds / 3 / max(took, 1e-6))))
        self._seconds[mode] = took / count
        self.fill(mode, seconds)

    def fill(self, mode: str, seconds: float) -> None:
        """Makes a window last `seconds`."""
        self.steps[mode] = max(1, round(seconds / max(self._seconds[mode], 1e-9)))

    def _run(self, mode: str, steps: int, timeout: float) -> float:
        self.tell(mode=mode, steps=steps)
        answer = self.answer(timeout)
        if not abs(answer["loss"]) < float("inf"):
            raise WorkerError(f"the loss became {answer['loss']}")
        return float(answer["seconds"])

    def window(self, mode: str, timeout: float) -> float:
        """Microseconds of a step."""
        return 1e6 * self._run(mode, self.steps[mode], timeout) / self.steps[mode]

    def loaded(self) -> list[str]:
        """Kernels of ours that it loaded so far, generated ones left out."""
        names = self.kernels.read_text().split() if self.kernels.exists() else []
        return sorted({n for n in names if not n.startswith("loop_")})


def python(module: str, *arguments: str) -> list[str]:
    """A module of this checkout, whatever lies in the folder that we are called from."""
    return [sys.executable, "-P", "-X", "faulthandler", "-m", module, *arguments]


def python_path() -> str:
    """Where `python` finds it."""
    return os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH")) if p)


def environment(device: str, folder: str, kernel_log: str) -> dict[str, str]:
    """Of a worker: caches of this run alone, no memory taken in advance."""
    return {
        **os.environ,
        "PYTHONPATH": python_path(),
        "OSTRIA_AUTOTUNE": "1",
        "OSTRIA_CACHE_DIR": os.path.join(folder, "ostria"),
        "OSTRIA_KERNEL_LOG": kernel_log,
        "TORCHINDUCTOR_CACHE_DIR": os.path.join(folder, "inductor"),
        "TRITON_CACHE_DIR": os.path.join(folder, "triton"),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "JAX_PLATFORMS": "cuda" if device.startswith("cuda") else "cpu",
    }
