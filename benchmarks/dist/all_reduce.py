# SPDX-License-Identifier: Apache-2.0
"""All-reduce between two processes on two cores, beside torch.distributed over Gloo.

`python -m benchmarks.dist.all_reduce` starts two ranks of each side at once. Windows of the sides
alternate, and only one side is active at a time. Printed are medians of the time per call and their
ratio (below 1: ours is faster), with how many cores other processes kept busy meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"4 KB": 4_000, "400 KB": 400_000, "4 MB": 4_000_000, "40 MB": 40_000_000}

_TORCH = """
import sys, time, torch, torch.distributed as dist
rank, store = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
print("ready", torch.__version__, flush=True)
for line in sys.stdin:
    words = line.split()
    count, repeats = int(words[2]), int(words[4])
    data = torch.ones(count)
    begin = time.perf_counter()
    for _ in range(repeats):
        dist.all_reduce(data)
    print("ok", time.perf_counter() - begin, 0, flush=True)
    data = None
"""


class RankError(RuntimeError):
    """A rank failed; the text says what it said."""


class Side:
    """Two ranks as processes, which answer a line with a line."""

    def __init__(self, commands: list[list[str]]) -> None:
        self.ranks = [
            subprocess.Popen(c, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for c in commands
        ]
        self.said = [self._line(r) for r in self.ranks]
        if not all(s.startswith("ready") for s in self.said):
            self.close()
            raise RankError(f"a rank did not start: {self.said}")

    @staticmethod
    def _line(rank: subprocess.Popen[str]) -> str:
        out: IO[str] | None = rank.stdout
        return out.readline().strip() if out else ""

    def time(self, count: int, repeats: int) -> float:
        """Seconds per call, of the slower rank."""
        for rank in self.ranks:
            if rank.stdin:
                rank.stdin.write(f"all_reduce bench {count} sum {repeats}\n")
                rank.stdin.flush()
        answers = [self._line(r).split() for r in self.ranks]
        if any(a[:1] != ["ok"] for a in answers):
            raise RankError(f"a rank failed: {answers}")
        return max(float(a[1]) for a in answers) / repeats

    def close(self) -> None:
        for rank in self.ranks:
            if rank.stdin:
                rank.stdin.close()
        for rank in self.ranks:
            try:
                rank.wait(timeout=10)
            except subprocess.TimeoutExpired:
                rank.kill()


def busy_seconds() -> float:
    """Of all cores since the machine started, without idle and waiting for disks."""
    words = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    ticks = [int(w) for w in words]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def measure(
    ours: Side, peer: Side, sizes: dict[str, int], windows: int, seconds: float
) -> list[dict[str, Any]]:
    """A row for each size: medians of both sides, their ratio, and every window."""
    rows = []
    for name, size in sizes.items():
        count = size // 4
        sides = (ours, peer)
        repeats = [max(3, int(seconds / max(s.time(count, 3), 1e-6))) for s in sides]
        times: list[list[float]] = [[], []]
        for window in range(windows):
            for i in (0, 1) if window % 2 else (1, 0):
                times[i].append(sides[i].time(count, repeats[i]))
        ours_median, peer_median = (statistics.median(t) for t in times)
        rows.append(
            {
                "size": name,
                "bytes": size,
                "ours_seconds": ours_median,
                "torch_seconds": peer_median,
                "ratio": ours_median / peer_median,
                "ours_windows": times[0],
                "torch_windows": times[1],
            }
        )
    return rows


def compare(
    build: Path, torch_python: str, transport: str = "shm", windows: int = 9, seconds: float = 0.25
) -> dict[str, Any]:
    """Two ranks of each side over all SIZES, as a record whose `rows` are those of `measure`.

    Raises:
        FileNotFoundError: `build` has no dist_rank.
        RankError: a rank does not start, or fails.
    """
    binary = build / "tests/unit/dist_rank"
    if not binary.exists():
        raise FileNotFoundError(
            f"there is no {binary}; build the target dist_rank, or name its --build"
        )
    sides: list[Side] = []
    with tempfile.TemporaryDirectory() as folder:
        begin, busy = time.monotonic(), busy_seconds()
        own = sum(os.times()[:4])
        try:
            hosts = "here,here"
            sides.append(Side([[str(binary), str(r), hosts, folder, transport] for r in range(2)]))
            store = f"{folder}/torch"
            sides.append(Side([[torch_python, "-c", _TORCH, str(r), store] for r in range(2)]))
            rows = measure(sides[0], sides[1], SIZES, windows, seconds)
        finally:
            for side in sides:
                side.close()
        wall = time.monotonic() - begin
        other = (busy_seconds() - busy - (sum(os.times()[:4]) - own)) / wall
    record = {"what": "all_reduce float32, 2 processes", "transport": transport}
    torch = sides[1].said[0].split()[1]
    return record | {
        "choice": sides[0].said[0],
        "torch": torch,
        "other_cores": max(0.0, other),
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.dist.all_reduce", description=__doc__)
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "current")
    parser.add_argument("--torch-python", default=str(ROOT / ".venv-bench/bin/python"))
    parser.add_argument("--transport", default="shm", choices=["shm", "gloo"])
    parser.add_argument("--windows", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.25, help="of one window")
    parser.add_argument("--json", type=Path, help="write the record there")
    arguments = parser.parse_args()
    try:
        record = compare(
            arguments.build,
            arguments.torch_python,
            arguments.transport,
            arguments.windows,
            arguments.seconds,
        )
    except (FileNotFoundError, RankError) as error:
        raise SystemExit(str(error)) from None
    other = record["other_cores"]
    print(f"{record['choice']}; torch {record['torch']}; others kept {other:.2f} cores busy")
    for row in record["rows"]:
        print(
            f"{row['size']:>7}  ours {row['ours_seconds'] * 1e6:10.1f} us  "
            f"torch {row['torch_seconds'] * 1e6:10.1f} us  ratio {row['ratio']:.3f}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
