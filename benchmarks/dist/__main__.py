# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.dist`: two ranks on two cores beside PyTorch's, and beside one of ours.

Each rank has one core and one thread. Training is MultiWorkerMirroredStrategy beside
DistributedDataParallel over Gloo: same weights, same data, same global batch, losses that must
agree. Both sides also share out the optimizer's state (`shard_optimizer_state=True`,
ZeroRedundancyOptimizer). Scaling is two ranks beside one, at the same batch per rank, by default
that of one device's benchmarks; the record also has the same global batch, and what two processes
reach that exchange nothing, which is what the machine has for two ranks at most. Windows of all
alternate and medians count; of scaling that of the ratios of each round, whose windows see the same
machine. The shorter a step, the more is lost where ranks wait for the slower one of each step.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import driver, machine, peers, stats
from benchmarks.child import WorkerError
from benchmarks.dist import all_reduce
from benchmarks.dist.rank import WORKLOADS
from benchmarks.dist.team import Apart, Entry, Team, alternate

RESULTS = machine.ROOT / "benchmarks" / "results" / "dist"
OWN_MODES = ["strategy", "strategy_sharded_state"]
TORCH_MODES = {
    "mlp": ["ddp", "ddp_sharded_state", "ddp_compile"],
    "cnn": [
        "ddp",
        "ddp_channels_last",
        "ddp_sharded_state_channels_last",
        "ddp_compile",
        "ddp_compile_channels_last",
    ],
}
EFFICIENCY = 0.9  # of two cores, at the same batch per rank, in the best mode


@dataclass
class Protocol:
    """How long to measure."""

    windows: int = 21
    seconds: float = 0.5
    all_reduce_seconds: float = 0.25

    @staticmethod
    def quick() -> Protocol:
        """For a first look."""
        return Protocol(3, 0.1, 0.05)


class Run:
    """Collects records, how two ranks scale, and what failed."""

    def __init__(self, protocol: Protocol, modes: dict[str, list[str]]) -> None:
        self._protocol, self._modes = protocol, modes
        self.records: list[dict[str, Any]] = []
        self.scaling: list[dict[str, Any]] = []
        self.failures: list[dict[str, str]] = []
        self.warnings: list[str] = []

    def train(self, workload: str, batch: int) -> None:
        """Both sides with two ranks of `batch` each, and ours with one."""
        both = 2 * batch
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ostria-dist-"))
            entries: list[Entry] = []

            def begin(
                framework: str, mode: str, world: int, *batches: int, core: int = 0
            ) -> None:
                which = " and ".join(map(str, batches))
                case = f"{workload} batch {which} {framework} ({mode}), {world} rank(s)"
                try:
                    team = Team(framework, mode, world, folder, core)
                    stack.callback(team.close)
                    made = [Entry(team, workload, b) for b in batches]
                    for entry in made:
                        entry.calibrate(self._protocol.seconds)
                    entries.extend(made)
                except (WorkerError, OSError) as error:
                    self._fail(case, str(error))

            # What is compared is measured in turn: one rank between the modes of two.
            begin(stats.OURS, OWN_MODES[0], 2, both)
            begin(stats.OURS, "strategy", 1, batch, both)
            begin(stats.OURS, OWN_MODES[1], 2, both)
            one = [e for e in entries if e.team.world == 1 and e.batch == batch]
            others = len(entries)
            begin(stats.OURS, "strategy", 1, batch, core=1)
            one += entries[others:]
            del entries[others:]  # it is measured with the other one alone
            apart = [Apart(one)] if len(one) == 2 else []
            for mode in self._modes[workload]:
                begin("torch", mode, 2, both)
            if entries:
                try:
                    alternate([*entries, *apart], self._protocol.windows)
                except WorkerError as error:
                    self._fail(f"{workload} batch {both}", str(error))
                    return
                self.add(workload, entries, apart)

    def add(self, workload: str, entries: Sequence[Entry], apart: Sequence[Apart]) -> None:
        """Records the windows of all; losses of equal batches must agree."""
        names = {2: f"{workload}_2_ranks", 1: f"{workload}_1_rank"}
        made = [entry.record(names[entry.team.world]) for entry in entries]
        ours = [r for r in made if r["framework"] == stats.OURS]
        for record in made:
            stats.check_record(record)
            name = f"{record['workload']} batch {record['batch']} {record['framework']}"
            text = f"{name} ({record['mode']})"
            print(f"  {text:52} {stats.number(record['median']):>9} examples/s", flush=True)
            self._warn(text, record["other_cores"])
        # One rank at the same global batch does the same steps, so it has to lose the same too.
        same = [r | {"workload": workload} for r in made]
        for problem in stats.same_losses(same, driver.TOLERANCE):
            self._fail("loss", problem)
        self.records += made
        alone = {r["batch"]: r for r in ours if r["ranks"] == 1}
        teams = [r for r in ours if r["ranks"] == 2]
        for parts, what in ((2, "batch per rank"), (1, "global batch")):
            rows = [
                _scaling(workload, what, team, alone[team["batch"] // parts])
                for team in teams
                if team["batch"] // parts in alone
            ]
            if rows and what == "batch per rank":
                best = max(rows, key=lambda row: row["efficiency"])
                best |= {"target": EFFICIENCY, "met": best["efficiency"] >= EFFICIENCY}
                one = alone[teams[0]["batch"] // 2]
                rows += [_scaling(workload, "nothing exchanged", _both(a), one) for a in apart]
            self.scaling += rows

    def all_reduce(self, build: Path) -> None:
        """All-reduce between two ranks, at all sizes."""
        protocol = self._protocol
        try:
            found = all_reduce.compare(
                build, sys.executable, "shm", protocol.windows, protocol.all_reduce_seconds
            )
        except (FileNotFoundError, all_reduce.RankError) as error:
            self._fail("all_reduce", str(error))
            return
        self._warn("all_reduce", found["other_cores"])
        for row in found["rows"]:
            for framework, mode in ((stats.OURS, "shm"), ("torch", "gloo")):
                side = "ours" if framework == stats.OURS else "torch"
                windows = [w * 1e6 for w in row[f"{side}_windows"]]
                self.records.append(
                    {
                        "workload": "all_reduce_2_ranks",
                        "framework": framework,
                        "mode": mode,
                        "batch": row["bytes"],
                        "metric": "us/call",
                        **stats.summary(windows),
                        "first_step_s": None,
                        "peak_rss_mb": None,
                        "final_loss": None,
                        "probed": False,
                        "ranks": 2,
                        "windows": windows,
                        "other_cores": found["other_cores"],
                    }
                )

    def _warn(self, text: str, others: float) -> None:
        if others > driver.LOAD_WARNING:
            self.warnings.append(f"{text}: other processes kept {others:.1f} cores busy")

    def _fail(self, case: str, reason: str) -> None:
        print(f"  failed: {case}: {reason}", flush=True)
        self.failures.append({"case": case, "reason": reason})

    def scaling_table(self) -> str:
        """How two ranks scale, one line for each workload."""
        rows = [["scaling 1 -> 2", "mode", "same", "batch", "efficiency", "p10..p90", "target", ""]]
        for r in self.scaling:
            verdict = {None: "", True: "met", False: "MISSED"}[r["met"]]
            target = "-" if r["target"] is None else f"{r['target']:.2f}"
            spread = f"{r['p10']:.2f}..{r['p90']:.2f}"
            efficiency = f"{r['efficiency']:.2f}"
            batch = "-" if r["batch"] is None else str(r["batch"])
            where = [r["workload"], r["mode"], r["same"], batch]
            rows.append([*where, efficiency, spread, target, verdict])
        return stats.table(rows)


def _both(apart: Apart) -> dict[str, Any]:
    return {"mode": "apart", "batch": None, "windows": apart.windows}


def _scaling(
    workload: str, what: str, both: dict[str, Any], one: dict[str, Any]
) -> dict[str, Any]:
    pairs = zip(both["windows"], one["windows"], strict=True)
    windows = [b / (2 * a) for b, a in pairs]
    return {
        "workload": workload,
        "mode": both["mode"],
        "same": what,
        "batch": both["batch"],
        "efficiency": stats.percentile(windows, 0.5),
        "p10": stats.percentile(windows, 0.1),
        "p90": stats.percentile(windows, 0.9),
        "target": None,
        "met": None,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.dist", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short windows: no result")
    parser.add_argument(
        "--only",
        action="append",
        choices=[*WORKLOADS, "all_reduce"],
        help="a part; repeatable",
    )
    modes = sorted({mode for modes in TORCH_MODES.values() for mode in modes})
    parser.add_argument(
        "--torch-mode",
        action="append",
        choices=modes,
        help="only these of PyTorch's modes; repeatable",
    )
    parser.add_argument("--batch", type=int, default=128, help="of each rank")
    parser.add_argument(
        "--build", type=Path, default=machine.ROOT / "build" / "current", help="has dist_rank"
    )
    parser.add_argument("--output", type=Path, help=f"folder of the results (default: {RESULTS})")
    arguments = parser.parse_args()
    if arguments.batch < 1:
        parser.error(f"--batch: {arguments.batch} is not accepted; give a number from 1 on")
    return arguments


def main() -> int:
    """Returns the exit status: 1 where something failed, 2 where nothing could be measured."""
    arguments = _arguments()
    if len(machine.cores()) < 2:
        print(f"two ranks need two cores; this process may use {len(machine.cores())}")
        return 2
    begin, date = time.monotonic(), datetime.date.today().isoformat()
    place, parts = machine.describe(), arguments.only or [*WORKLOADS, "all_reduce"]
    print(f"{place['cpu']}, cores {machine.cores()}")
    missing = peers.missing("torch")
    skipped = [{"framework": "torch", "reason": missing}] if missing else []
    if missing:
        print(f"skipped: torch: {missing}")
    protocol = Protocol.quick() if arguments.quick else Protocol()
    modes = {
        workload: [m for m in modes if missing is None and m in (arguments.torch_mode or modes)]
        for workload, modes in TORCH_MODES.items()
    }
    run = Run(protocol, modes)
    for part in parts:
        print(part, flush=True)
        if part != "all_reduce":
            run.train(part, arguments.batch)
        elif missing is None:
            run.all_reduce(arguments.build)
    if not run.records:
        print("nothing was measured")
        return 2
    result = {
        "format": stats.FORMAT,
        "date": date,
        "quick": arguments.quick,
        "machine": place,
        "versions": machine.versions(),
        "commit": machine.commit(),
        "threads_per_rank": 1,
        "batch_per_rank": arguments.batch,
        "wall_s": round(time.monotonic() - begin, 1),
        "protocol": {**asdict(protocol), "loss_tolerance": driver.TOLERANCE},
        "skipped": skipped,
        "failures": run.failures,
        "warnings": run.warnings,
        "ratios": stats.ratios(run.records),
        "scaling": run.scaling,
        "records": run.records,
    }
    print("\n" + stats.report(run.records))
    if run.scaling:
        print("\n" + run.scaling_table())
    for text in run.warnings:
        print(f"warning: {text}")
    folder = arguments.output or RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{date}-{machine.slug(place['cpu'])}{'-quick' if arguments.quick else ''}"
    path = folder / f"{name}{'-busy' if run.warnings else ''}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\n{result['wall_s'] / 60:.1f} minutes; written: {path}")
    return 1 if run.failures else 0


if __name__ == "__main__":
    sys.exit(main())
