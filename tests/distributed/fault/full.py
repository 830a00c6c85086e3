# SPDX-License-Identifier: Apache-2.0
"""What takes too long for `make test`: kills and fuzzing at full count (`make test-faults`).

    python tests/distributed/fault/full.py --output record.json [--kills 1000] [--rank-kills 100]
                                           [--mutations 100000]

The record says what was run, how often, and how it ended; it is written also where a test fails.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
TIMEOUT = 4 * 3600.0  # seconds for one of the programs, which take minutes


def run(name: str, words: list[str], report: str, environ: dict[str, str]) -> dict[str, Any]:
    """Runs a test program that writes a report in JUnit's form; what it says."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.xml"
        done = subprocess.run(
            [*words, report + str(path)],
            cwd=ROOT,
            env={**os.environ, **environ},
            timeout=TIMEOUT,
        )
        if not path.exists():
            raise SystemExit(f"{name}: {words[0]} ended with {done.returncode} and no report")
        suites = [s for s in ElementTree.parse(path).iter("testsuite") if int(s.get("tests", "0"))]

    def total(key: str) -> int:
        return sum(int(s.get(key, "0")) for s in suites)

    return {
        "name": name,
        "tests": total("tests"),
        "failed": total("failures") + total("errors"),
        "skipped": total("skipped"),
        "exit_status": done.returncode,
        "seconds": round(time.monotonic() - begin, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", required=True, type=Path, help="of the record, JSON")
    parser.add_argument("--build", default="build/current", help="folder with tests/unit/dist_test")
    parser.add_argument("--kills", type=int, default=1000, help="of a process that saves")
    # Each is a job of its own, of some seconds.
    parser.add_argument("--rank-kills", type=int, default=100, help="half of them within a step")
    parser.add_argument(
        "--mutations", type=int, default=100_000, help="of variables, messages and files"
    )
    options = parser.parse_args()
    if options.kills < 1 or options.rank_kills < 2 or options.mutations < 1:
        parser.error("--kills is 1 or more, --rank-kills 2 or more, --mutations 1 or more")

    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    dist_test = [str(ROOT / options.build / "tests/unit/dist_test"), "--gtest_brief=1"]
    count, fuzz = f"{options.mutations:,} mutations", {"OSTRIA_FUZZ": str(options.mutations)}
    damaged = [
        *pytest,
        "tests/distributed/fault/test_files.py",
        "-k",
        "always_found or goes_unseen",
    ]
    # A disk would take a hundred times as long for files that are written to be read at once.
    shm = Path("/dev/shm")
    memory = tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None)
    runs = [
        run(
            "100,000 mutations each of messages, of durations and of what a server is sent",
            [*dist_test, "--gtest_filter=*Mutations*"],
            "--gtest_output=xml:",
            {},
        ),
        run(
            f"variables of launchers, {count}",
            [*pytest, "tests/distributed/test_environment.py", "-k", "mutated"],
            "--junitxml=",
            fuzz,
        ),
        run(
            f"kill -9 of a rank, {options.rank_kills // 2 * 2:,} times",
            [*pytest, "tests/distributed/fault/test_processes.py", "-k", "kill"],
            "--junitxml=",
            {"OSTRIA_KILLS": str(options.rank_kills)},
        ),
        run(
            f"kill -9 of a process that saves, {options.kills:,} times",
            [*pytest, "tests/distributed/fault/test_files.py", "-k", "kill_while_saving"],
            "--junitxml=",
            {"OSTRIA_KILLS": str(options.kills)},
        ),
        run(
            f"damaged checkpoints, and record files read in two ways, {count} each",
            [*damaged, f"--basetemp={memory.name}/files"],
            "--junitxml=",
            fuzz,
        ),
    ]
    memory.cleanup()
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    record = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "runs": runs,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(record, indent=1) + "\n")
    print(f"wrote {options.output}")
    # A run of no test, or of skipped ones alone, has shown nothing.
    good = all(r["exit_status"] == 0 and r["tests"] > r["skipped"] for r in runs)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
