# SPDX-License-Identifier: Apache-2.0
"""`ostria simulate` from its options to its report. The head is printed first, so that a script's
own lines are never taken for those of a cluster."""

from __future__ import annotations

import contextlib
import json
import sys
import traceback
from collections.abc import Iterator
from typing import TextIO

from ostria import _native
from ostria.cli.launch.options import count_threads
from ostria.cli.simulate import calibrate, real, rendezvous
from ostria.cli.simulate.figures import Figure, as_json
from ostria.cli.simulate.load import Load
from ostria.cli.simulate.options import SimulateOptions
from ostria.cli.simulate.report import add_real, make_report
from ostria.cli.simulate.session import ScriptError, run_script
from ostria.cli.simulate.text import head_lines, report_lines
from ostria.cli.simulate.topology import MEASURED, read_topology


def simulate(options: SimulateOptions, out: TextIO) -> int:
    """Runs the script and reports; returns the exit status, 1 where the script failed.

    Raises:
      ValueError: the topology is damaged, or the script is none that could be simulated.
      OSError: the file of --json cannot be written.
    """
    default = MEASURED if options.calibrate else ""
    topology = read_topology(options.topology, options.world, calibrate.measure, default)
    print("\n".join(head_lines(options.world)), file=out, flush=True)
    load = Load()
    try:
        with _threads(options):
            simulation = run_script(options, topology)
    except ScriptError as error:
        traceback.print_exception(error.__cause__)
        print(f"ostria simulate: {error} failed as above", file=sys.stderr)
        return 1
    others = load.other_cores()
    met = None
    with _told():
        met = rendezvous.measure(options.world, options.joined)
    report = make_report(options, simulation, topology, met)
    report["step"]["other_cores"] = Figure(others, "cores", "measured")
    if options.real:
        with _told():
            add_real(report, real.measure(options, report["step"]["function"]))
    print("\n".join(report_lines(report)), file=out, flush=True)
    if options.json is not None:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(as_json(report), file, indent=1)
            file.write("\n")
    return 0


@contextlib.contextmanager
def _threads(options: SimulateOptions) -> Iterator[None]:
    """As many as a process has that shares this machine with others, where others do the same."""
    before = _native.num_threads()
    if options.real:
        _native.set_num_threads(count_threads(options.world))
    try:
        yield
    finally:
        _native.set_num_threads(before)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What is missing of a report is said, and the rest of it stands."""
    try:
        yield
    except ValueError as error:
        print(error, file=sys.stderr)
