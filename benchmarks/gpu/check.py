# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.gpu.check`: is what runs on the GPU right? Under five minutes, one record.

Steps of models beside the CPU, twice, replayed and node by node; memory as planned; every kernel
and library node; the tests of layers, and every op's own. Each check is a process with a time
limit, and its finding is in the record as soon as it is made: what crashes, hangs or never gets its
turn is in it too.

--output FILE      the record (default: below benchmarks/results/gpu)
--tests BINARY     backend_cuda_test
--commit HASH      of the sources, where there is no checkout
--seconds N        what has not begun by then does not run, and is counted as that (default: 280)
--only KIND        steps, cpp, layers or ops; may be repeated
--sanitize         instead: a few kernels under compute-sanitizer
--stand-in         accept a driver that is no GPU's, as the tests do
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.gpu import checks, cpp_tests, op_tests, steps
from benchmarks.gpu.jobs import Findings, Job, Outcome, python, run, run_all
from benchmarks.gpu.record import ROOT, Record

SKIPPED = 77  # exit status: there is nothing to check on
KINDS = ("steps", "cpp", "layers", "ops")


def no_gpu() -> str:
    """Why nothing can run here; empty where it can."""
    outcome = run(
        [sys.executable, "-c", "import ostria as ost; ost.set_default_device('cuda')"], 120.0, {}
    )
    if not outcome.trouble:
        return ""
    lines = outcome.errors.strip().splitlines() or [outcome.trouble]
    # The message, which may have several lines, begins behind the traceback.
    begin = max((i for i, x in enumerate(lines) if x and not x.startswith(" ")), default=0)
    errors = [i for i, x in enumerate(lines) if "Error: " in x and not x.startswith(" ")]
    return "\n".join(lines[errors[-1] if errors else begin :])


def step_jobs(record: Record, findings: Findings) -> Iterator[Job]:
    """Whole steps: models in every precision, in two processes; streams; memory."""
    digests: dict[str, list[str]] = {}

    def job(*arguments: str) -> Job:
        name = " ".join(arguments)

        def after(outcome: Outcome) -> Iterable[Job]:
            if outcome.trouble:
                findings.add(name, outcome.trouble)
                return []
            found = json.loads(outcome.output.strip().splitlines()[-1])
            known = digests.setdefault(name, [])
            known.append(found.get("digest", ""))
            if len(set(known)) > 1:
                found["wrong"] = f"{found['wrong']}; two processes give different bits"
            record.keep(name, found)
            findings.add(name, found["wrong"])
            if arguments[0] == "model" and not found["wrong"]:
                label = arguments[1] + ("" if arguments[2] == "float32" else f" {arguments[2]}")
                record.ran("ran", "models", [label])
            return []

        return Job(name, python("benchmarks.gpu.checks", *arguments), 150.0, after)

    for process in range(2):
        for name in steps.STEPS:
            for precision in checks.TOLERANCE:
                if process == 0 or precision == "mixed_bfloat16":
                    yield job("model", name, precision)
    for _ in range(2):
        yield job("streams", "3")
    for name in checks.LARGE:
        for precision in ("float32", "mixed_bfloat16"):
            yield job("memory", name, precision)


def check(record: Record, arguments: argparse.Namespace) -> bool:
    """All checks that were asked for; whether everything is right."""
    begin = time.monotonic()
    kinds = arguments.only or KINDS
    found = {kind: Findings(record, kind) for kind in kinds}
    late = Findings(record, "not run")
    jobs: list[Job] = []
    if "steps" in kinds:
        jobs += step_jobs(record, found["steps"])
    if "cpp" in kinds:
        jobs += cpp_tests.jobs(record, found["cpp"], arguments.tests)
    if "layers" in kinds:
        jobs += op_tests.layer_jobs(found["layers"])
    if "ops" in kinds:
        jobs += op_tests.op_jobs(found["ops"])
    run_all(jobs, arguments.at_once, begin + arguments.seconds, late)
    record.set("seconds", round(time.monotonic() - begin, 1))
    return not any(f.failed for f in (*found.values(), late))


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu.check")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--tests", type=Path)
    parser.add_argument("--commit", default="")
    parser.add_argument("--seconds", type=float, default=280.0)
    parser.add_argument("--at-once", type=int, default=min(16, os.cpu_count() or 2))
    parser.add_argument("--only", action="append", choices=KINDS)
    parser.add_argument("--sanitize", action="store_true")
    parser.add_argument("--stand-in", action="store_true")
    arguments = parser.parse_args()
    if arguments.sanitize or "cpp" in (arguments.only or KINDS):
        if arguments.tests is None or not arguments.tests.is_file():
            parser.error("--tests names no backend_cuda_test; build it, or leave it out by --only")
        arguments.tests = arguments.tests.resolve()
    return arguments


def main() -> int:
    """The exit status: 0 where everything is right, 77 where there is no GPU."""
    arguments = parsed()
    why = no_gpu()
    if why:
        print(f"SKIP: {why}")
        return SKIPPED
    folder = ROOT / "benchmarks/results/gpu"
    kind = "sanitize" if arguments.sanitize else "check"
    path = arguments.output or folder / f"{time.strftime('%Y-%m-%d')}-{kind}.json"
    record = Record(path, kind, arguments.commit)
    if record.data["stand_in"] and not arguments.stand_in:
        print("SKIP: the driver is no GPU's: nvidia-smi shows no device")
        return SKIPPED
    os.environ.setdefault("OSTRIA_CACHE_DIR", tempfile.mkdtemp())
    if arguments.sanitize:
        good = cpp_tests.sanitize(record, arguments.tests)
    else:
        good = check(record, arguments)
    print("all right" if good else "something is wrong: see the record", path)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
