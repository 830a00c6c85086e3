# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.gpu.check`: is what runs on the GPU right? Under five minutes, one record.

--output FILE     the record (default: below benchmarks/results/gpu)
--tests BINARY    backend_cuda_test: every kernel and library node beside the CPU, a process each
--commit HASH     of the sources, where there is no checkout
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.gpu import steps
from benchmarks.gpu.record import ROOT, Record

COUNT = 8  # steps that are compared
SHARDS = 12
TOLERANCE = {None: 2e-4, "mixed_bfloat16": 3e-2}  # of losses, relative
# These count calls of the fake driver, or are about it.
NOT_ON_A_GPU = re.compile(
    r"^(FakeDriver|CudaMemory|Vmm|CudaDevice|CudaChild|CudaLibrary|CudaStreams|CudaExecutable|"
    r"CudaProductChoice|CudaLoopCache|CudaLoopCompiled|CudaLoop\.)"
)


def _cpp(record: Record, binary: Path) -> bool:
    environment = {**os.environ, "OSTRIA_CACHE_DIR": tempfile.mkdtemp()}
    listed = subprocess.run(
        [binary, "--gtest_list_tests"], capture_output=True, text=True, env=environment
    ).stdout
    tests, suite = [], ""
    for line in listed.splitlines():
        if not line.startswith(" ") and line.endswith("."):
            suite = line
        elif line.startswith("  "):
            tests.append(suite + line.split("#")[0].strip())
    tests = [t for t in tests if not NOT_ON_A_GPU.match(t) and ".DISABLED" not in t]

    def run(test: str) -> tuple[str, int, list[str], str]:
        with tempfile.NamedTemporaryFile("r") as log:
            done = subprocess.run(
                [binary, f"--gtest_filter={test}"],
                capture_output=True,
                text=True,
                timeout=120,
                env={**environment, "OSTRIA_KERNEL_LOG": log.name},
            )
            return test, done.returncode, log.read().split(), done.stdout[-1500:]

    kernels: set[str] = set()
    failed, skipped = {}, 0
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for test, status, loaded, text in pool.map(run, tests):
            if status != 0:
                failed[test] = text
            elif "[  SKIPPED ]" in text:
                skipped += 1
            else:
                kernels |= {k for k in loaded if not k.startswith("loop_")}
    record.ran("ran", "kernels", sorted(kernels))
    record.set(
        "cpp", {"passed": len(tests) - len(failed) - skipped, "skipped": skipped, "failed": failed}
    )
    return not failed


def _models(record: Record) -> bool:
    good = True
    for name, make in steps.STEPS.items():
        want = steps.losses(*make("cpu"), COUNT)
        for precision, tolerance in TOLERANCE.items():
            label = name if precision is None else f"{name} {precision}"
            try:
                step, batch = make("cuda", precision)
                first = steps.losses(step, batch, COUNT)
                again = steps.losses(*make("cuda", precision), COUNT)
            except Exception as error:
                record.set(label, {"error": str(error)[:800]})
                good = False
                continue
            off = max(abs(a - b) / (abs(b) + 1e-3) for a, b in zip(first, want, strict=True))
            record.set(
                label,
                {
                    "losses": first,
                    "cpu": want,
                    "largest_difference": off,
                    "two_runs_equal": first == again,
                },
            )
            good = good and off < tolerance and first == again
            if off < tolerance:
                record.ran("ran", "models", [label])
    return good


def _replays(record: Record) -> bool:
    """A graph that is replayed gives the bits of a run node by node."""
    import ostria as ost

    replayed = steps.losses(*steps.mlp("cuda"), 4)
    with ost.debug():
        single = steps.losses(*steps.mlp("cuda"), 4)
    record.set("replay_equals_node_by_node", replayed == single)
    return replayed == single


def _ops(record: Record) -> bool:
    """The ops' own tests, in several processes: each op is compiled when it first runs."""
    names = sorted(path.stem for path in (ROOT / "tests/ops/rows").glob("*.py"))
    shards = [names[i::SHARDS] for i in range(SHARDS)]

    def run(shard: list[str]) -> tuple[int, list[str]]:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line"]
        command += [f"tests/ops/test_ops.py::test_forward[{name}]" for name in shard]
        environment = {**os.environ, "OSTRIA_DEVICE": "cuda"}
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
        lines = done.stdout.strip().splitlines()
        passed = re.search(r"(\d+) passed", lines[-1] if lines else "")
        return int(passed[1]) if passed else 0, [x[:400] for x in lines if x.startswith("FAILED")]

    with concurrent.futures.ThreadPoolExecutor(SHARDS) as pool:
        results = list(pool.map(run, shards))
    failed = [line for _, lines in results for line in lines]
    record.set("ops", {"passed": sum(count for count, _ in results), "failed": failed})
    return not failed


def main() -> int:
    """The exit status: 0 where everything is right."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu.check")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--tests", type=Path)
    parser.add_argument("--commit", default="")
    arguments = parser.parse_args()
    folder = ROOT / "benchmarks/results/gpu"
    path = arguments.output or folder / f"{time.strftime('%Y-%m-%d')}-check.json"
    record = Record(path, "check", arguments.commit)
    begin = time.monotonic()
    good = [_models(record), _replays(record)]
    if arguments.tests:
        good.append(_cpp(record, arguments.tests.resolve()))
    good.append(_ops(record))
    record.set("seconds", round(time.monotonic() - begin, 1))
    print("all right" if all(good) else "something is wrong: see the record", path)
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
