# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks`: measures, prints the table, writes results/<date>-<cpu>.{json,png}."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import chart, driver, machine, peers, stats, suites

RESULTS = machine.ROOT / "benchmarks" / "results"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description="Ostria beside its peers.")
    parser.add_argument(
        "--quick", action="store_true", help="short windows: a first look, not a result"
    )
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="a workload or module; repeatable"
    )
    parser.add_argument(
        "--frameworks", default=",".join([stats.OURS, *peers.PEERS]), help="which, with commas"
    )
    parser.add_argument(
        "--batch", action="append", type=int, help="only these batch sizes; repeatable"
    )
    parser.add_argument("--output", type=Path, help=f"folder of the results (default: {RESULTS})")
    return parser.parse_args()


def _available(names: list[str]) -> tuple[list[str], list[dict[str, str]]]:
    here, skipped = [], []
    for name in names:
        if reason := peers.missing(name):
            print(f"skipped: {name}: {reason}")
            skipped.append({"framework": name, "reason": reason})
        else:
            here.append(name)
    return here, skipped


def main() -> int:
    """Returns the exit status: 1 where losses differ, 2 where nothing could be measured."""
    arguments = _arguments()
    begin = time.monotonic()
    frameworks, skipped = _available(arguments.frameworks.split(","))
    protocol = driver.Protocol.quick() if arguments.quick else driver.Protocol()
    run = driver.Run(protocol, frameworks, lambda text: print(text, flush=True))
    try:
        for suite in suites.all_suites(arguments.only):
            run.measure(suite, arguments.batch)
    except KeyboardInterrupt:
        print("interrupted: what was measured so far is kept", file=sys.stderr)
    finally:
        run.close()
    if not run.records:
        print("nothing was measured")
        return 2
    place = machine.describe()
    result: dict[str, Any] = {
        "format": stats.FORMAT,
        "date": datetime.date.today().isoformat(),
        "quick": arguments.quick,
        "machine": place,
        "versions": machine.versions(),
        "commit": machine.commit(),
        "threads": machine.THREADS,
        "environment": machine.environment(),
        "wall_s": round(time.monotonic() - begin, 1),
        "protocol": {**vars(protocol), "loss_tolerance": driver.TOLERANCE},
        "skipped": skipped,
        "failures": run.failures,
        "warnings": run.warnings,
        "ratios": stats.ratios(run.records),
        "limits": stats.limits(run.records),
        "records": run.records,
    }
    print("\n" + stats.report(run.records))
    for text in run.warnings:
        print(f"warning: {text}")
    folder = arguments.output or RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{result['date']}-{machine.slug(place['cpu'])}{'-quick' if arguments.quick else ''}"
    if run.warnings:  # never under the name of a result
        name += "-busy"
    path = folder / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    chart.draw(result, path.with_suffix(".png"))
    minutes = result["wall_s"] / 60
    print(f"\n{minutes:.1f} minutes; written: {path} and {path.with_suffix('.png').name}")
    return 1 if any(failure["case"] == "loss" for failure in run.failures) else 0


if __name__ == "__main__":
    sys.exit(main())
