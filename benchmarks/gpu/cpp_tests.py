# SPDX-License-Identifier: Apache-2.0
"""backend_cuda_test on the GPU, a process for each test: every kernel and library node, and NCCL.

Also the same tests under compute-sanitizer, those of a few kernels.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.gpu.jobs import Findings, Job, Outcome, run
from benchmarks.gpu.record import Record

SECONDS = 120.0
# These count calls of the fake driver, or are about it.
NOT_ON_A_GPU = re.compile(
    r"^(FakeDriver|CudaMemory|Vmm|CudaDevice|CudaChild|CudaLibrary|CudaStreams|CudaExecutable|"
    r"CudaProductChoice|CudaLoopCache|CudaLoopCompiled|CudaLoop\.)"
)
TOOLS = ("memcheck", "racecheck", "synccheck")
# One of each kind of kernel: shared memory, scans, sorts, reductions, what is generated.
SANITIZED = "CudaFill.*:CudaScan.*:CudaSort.*:CudaRows.*:CudaAttention.*:CudaLoss.*:CudaLoopOps.*"


def libraries() -> dict[str, str]:
    """Where a program that is no Python finds NVIDIA's libraries: those of the wheels, by links."""
    if os.environ.get("OSTRIA_CUDA_LIBRARIES"):
        return {}
    folder = Path(tempfile.mkdtemp())
    for site in sys.path:
        for path in glob.glob(f"{site}/nvidia/*/lib/lib*.so.*"):
            link = folder / Path(path).name
            if not link.exists():
                link.symlink_to(path)
    return {"OSTRIA_CUDA_LIBRARIES": str(folder)} if any(folder.iterdir()) else {}


def names(binary: Path, environment: dict[str, str]) -> list[str]:
    """The tests that mean something on a GPU."""
    listed = subprocess.run(
        [binary, "--gtest_list_tests"],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    ).stdout
    found, suite = [], ""
    for line in listed.splitlines():
        if not line.startswith(" ") and line.endswith("."):
            suite = line
        elif line.startswith("  "):
            found.append(suite + line.split("#")[0].strip())
    return [t for t in found if not NOT_ON_A_GPU.match(t) and ".DISABLED" not in t]


def jobs(record: Record, findings: Findings, binary: Path) -> Iterator[Job]:
    """A job for each test; kernels that were loaded by one that passed have run."""
    environment = libraries()
    tests = names(binary, environment)
    if not tests:
        findings.add("--gtest_list_tests", f"{binary} lists no test")
    for test in tests:
        yield _job(record, findings, binary, test, environment)


def _job(
    record: Record, findings: Findings, binary: Path, test: str, environment: dict[str, str]
) -> Job:
    handle, path = tempfile.mkstemp(suffix=".log")
    os.close(handle)

    def after(outcome: Outcome) -> Iterable[Job]:
        loaded = Path(path).read_text().split()
        Path(path).unlink()
        skipped = "[  SKIPPED ]" in outcome.output
        findings.add(test, outcome.trouble, skipped)
        if not outcome.trouble and not skipped:
            record.ran("ran", "kernels", [k for k in loaded if not k.startswith("loop_")])
        return []

    return Job(
        test,
        [str(binary), f"--gtest_filter={test}"],
        SECONDS,
        after,
        {**environment, "OSTRIA_KERNEL_LOG": path},
    )


def sanitizer() -> str | None:
    """compute-sanitizer, on the path or in the toolkit."""
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    return shutil.which("compute-sanitizer") or shutil.which(
        "compute-sanitizer", path=f"{home}/bin:{home}/compute-sanitizer"
    )


def sanitize(record: Record, binary: Path) -> bool:
    """memcheck, racecheck and synccheck over the tests of a few kernels."""
    tool = sanitizer()
    if tool is None:
        record.set("sanitizer", {"skipped": "there is no compute-sanitizer"})
        return True
    good = True
    for check in TOOLS:
        options = (f"--tool={check}", "--error-exitcode=9")
        command = [tool, *options, str(binary), f"--gtest_filter={SANITIZED}"]
        outcome = run(command, 400.0, libraries())
        text = outcome.output + outcome.errors
        summary = re.findall(r"========= .*SUMMARY.*", text)
        ran = re.findall(r"\[  PASSED  \] (\d+) test", text)
        result = {"summary": summary[-1:], "tests": ran[-1:], "seconds": round(outcome.seconds, 1)}
        if outcome.trouble:
            good = False
            result["trouble"] = outcome.trouble
        record.set(f"sanitizer {check}", result)
    return good
