# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.gpu.bench [PROGRAM ...]`: how fast is the GPU, beside whom?

device     its properties as cuDNN writes them
launches   a node of a CUDA graph, with and without programmatic launches
layer      GPT-2 by hand, as the sum of the best pieces: the ceiling of g2
block      two bottleneck blocks of ResNet-50
g1 to g5   ResNet-50; GPT-2 124M; BERT-large; an MLP; an LSTM, wide & deep: beside PyTorch, JAX
g6, g7     fused kernels against a copy; attention and products against direct calls of libraries

Without names all but g3 run, in this order: device, launches, layer, block, g4, g2, g1, g6, g5, g7.
Each has --budget seconds; the record is written after every mode and --resume goes on from it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.gpu import cases, processes, report, turns
from benchmarks.gpu.record import ROOT, Record

BUDGET = 480.0
HAND = ("device", "launches", "layer")
ORDER = (*HAND, *(name for name in cases.PROGRAMS if name != "g3"))


def _by_hand(name: str, device: str, is_tiny: bool) -> dict[str, Any]:
    """One experiment that needs no processes in turn."""
    from benchmarks.gpu import device_json, launches, layer

    programs: dict[str, Callable[[], dict[str, Any]]] = {
        "device": device_json.describe,
        "launches": launches.measure,
        "layer": lambda: layer.measure(4 if is_tiny else 16, device, is_tiny),
    }
    return programs[name]()


def hand(record: Record, name: str, arguments: argparse.Namespace) -> None:
    """The same in a process of its own, whose last line is the result."""
    if "error" not in record.data["results"].get(name, {"error": ""}):
        return
    command = processes.python("benchmarks.gpu.bench", "--by-hand", name)
    command += ["--peers", arguments.peers, *(["--tiny"] if arguments.tiny else [])]
    environment = {**os.environ, "PYTHONPATH": processes.python_path()}
    limit = arguments.budget
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=limit
        )
        lines = done.stdout.strip().splitlines()
        if done.returncode == 0 and lines:
            result = json.loads(lines[-1])
        else:
            words = done.stderr.strip().splitlines() or ["died without a word"]
            result = {"error": "\n".join(words[-6:])}
    except subprocess.TimeoutExpired:
        result = {"error": f"not done within {limit:.0f} s"}
    record.set(name, result)


def chosen(name: str, arguments: argparse.Namespace) -> list[cases.Case]:
    """The cases of a program that were asked for; kernels have no batch to choose by."""
    found = cases.PROGRAMS[name]()
    if arguments.batch:
        found = [c for c in found if c.batch in (0, *arguments.batch)]
    if arguments.case:
        found = [c for c in found if any(text in c.name for text in arguments.case)]
    return [cases.tiny(c, arguments.peers) for c in found] if arguments.tiny else found


def measure(record: Record, name: str, arguments: argparse.Namespace) -> None:
    """All cases of a program, within its budget."""
    found = chosen(name, arguments)
    protocol = turns.KERNELS if name in cases.KEPT else turns.Protocol()
    session = turns.Session(
        record,
        arguments.budget,
        turns.SHORT if arguments.tiny else protocol,
        (arguments.ours, arguments.peers),
        arguments.tiny,
        arguments.frameworks.split(","),
        arguments.skip or (),
        arguments.cache,
    )
    try:
        session.run(found, name in cases.KEPT)
    finally:
        session.close()


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu.bench", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("programs", nargs="*", metavar="PROGRAM")
    parser.add_argument("--output", type=Path, help="the record")
    parser.add_argument("--commit", default="", help="of the sources, where there is no checkout")
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds for each program")
    parser.add_argument("--total", type=float, help="seconds for all of them")
    parser.add_argument("--resume", action="store_true", help="keep what the record holds")
    parser.add_argument("--cache", type=Path, help="keep what is compiled here, for another run")
    parser.add_argument("--frameworks", default="ostria,torch,jax", help="with commas")
    parser.add_argument("--skip", action="append", metavar="MODE", help="of peers; repeatable")
    parser.add_argument("--batch", action="append", type=int, help="only these; repeatable")
    parser.add_argument("--case", action="append", help="only with this in its name; repeatable")
    parser.add_argument("--ours", default="cuda", help="our device")
    parser.add_argument("--peers", default="cuda", help="the peers' device")
    parser.add_argument("--tiny", action="store_true", help="small networks: a test, no result")
    parser.add_argument("--report", type=Path, help="print a record as tables, measure nothing")
    parser.add_argument("--by-hand", choices=HAND, help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    unknown = set(arguments.programs) - {*HAND, *cases.PROGRAMS}
    if unknown:
        accepted = ", ".join([*HAND, *cases.PROGRAMS])
        parser.error(f"{', '.join(sorted(unknown))}: no such program; accepted are {accepted}")
    return arguments


def main(words: list[str] | None = None) -> int:
    """Measures and writes the record."""
    arguments = parse(words)
    if arguments.by_hand:
        print(json.dumps(_by_hand(arguments.by_hand, arguments.peers, arguments.tiny)))
        return 0
    if arguments.report:
        print(report.text(json.loads(arguments.report.read_text())))
        return 0
    folder = ROOT / "benchmarks/results/gpu"
    path = arguments.output or folder / f"{time.strftime('%Y-%m-%d')}-bench.json"
    record = Record(path, "bench", arguments.commit, arguments.resume)
    peak = f"{cases.PEAK:g} FLOP/s, dense bfloat16 and float16 of an H100 or H200 SXM by its maker"
    record.data |= {"versions": machine.versions(), "mfu_of": peak}
    end = time.monotonic() + (arguments.total or float("inf"))
    for name in arguments.programs or ORDER:
        begin = time.monotonic()
        if begin >= end:
            print(f"{name}: no time is left for it", flush=True)
            continue
        arguments.budget = min(arguments.budget, end - begin)
        try:
            if name in HAND:
                hand(record, name, arguments)
            else:
                measure(record, name, arguments)
        except Exception as error:  # the next program may still run
            record.set(f"{name} failed", str(error)[:1500])
        seconds = record.data.setdefault("seconds", {})
        seconds[name] = round(time.monotonic() - begin, 1)
        record.save()
    print(f"\n{report.text(record.data)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
