# SPDX-License-Identifier: Apache-2.0
"""The command line: `ostria doctor`, `explain-hang`, `launch` and `simulate`.

Also as `python -m ostria …`.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status.

    Args:
        argv: the words after the program's name; None takes those that this process was given.

    Example:
        >>> from ostria.cli import main
        >>> main(["doctor", "--help"])
        Traceback (most recent call last):
        SystemExit: 0
    """
    parser = argparse.ArgumentParser(prog="ostria", description="A deep learning framework.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    doctor = commands.add_parser(
        "doctor",
        help="say what of the installation works, and what to do about the rest",
        description="Prints what was found: builds, CPU, NVIDIA's driver and libraries, GPUs, "
        "settings, the cache and the wheels. The exit status is 0 when what is installed works.",
    )
    doctor.add_argument("--json", action="store_true", help="print the findings as JSON")
    hang = commands.add_parser(
        "explain-hang",
        help="name the rank and the collective that a distributed run waited for",
        description="Compares the flight records that ranks wrote when a call failed or when they "
        "were asked. The exit status is 0 when nobody is at fault, 1 when somebody is, 2 when "
        "nothing could be read.",
    )
    hang.add_argument("folder", metavar="DIR", help="with rank-0.json, rank-1.json, …")
    hang.add_argument("--json", action="store_true", help="print the findings as JSON")
    launch = commands.add_parser(
        "launch",
        help="start a training script as several processes",
        description="Runs a script once per rank, and ends all ranks together. The exit status is "
        "0 when every rank ended with 0, else that of the root cause; 128 + n for signal n.",
    )
    from ostria.cli.launch import add_flags

    add_flags(launch)
    simulate = commands.add_parser(
        "simulate",
        help="say how a training script would do as rank 0 of many",
        description="Runs a script here as rank 0 of a world of any size, whose collectives take "
        "the time that a model says, and prints the schedule of its buckets, exposed "
        "communication, memory and the time to meet. Every figure is labelled measured, "
        "simulated or modelled. The exit status is 0 when there is a report, 1 when the script "
        "failed.",
    )
    from ostria.cli.simulate import add_flags as add_simulate_flags

    add_simulate_flags(simulate)
    arguments = parser.parse_args(argv)
    if arguments.command == "simulate":
        return _simulate(arguments)
    if arguments.command == "launch":
        return _launch(arguments)
    if arguments.command == "explain-hang":
        from ostria.cli.explain_hang import explain_hang

        return explain_hang(arguments.folder, as_json=arguments.json, out=sys.stdout)
    from ostria.cli.doctor import doctor as run_doctor

    return run_doctor(as_json=arguments.json, out=sys.stdout)


def _launch(arguments: argparse.Namespace) -> int:
    from ostria.cli.launch import read_options, run_job

    try:
        return run_job(read_options(arguments, os.environ), os.environ)
    except (ValueError, OSError) as error:
        return _mistaken("launch", error)


def _simulate(arguments: argparse.Namespace) -> int:
    from ostria.cli.simulate import read_options
    from ostria.cli.simulate.command import simulate

    try:
        return simulate(read_options(arguments), sys.stdout)
    except (ValueError, OSError) as error:
        return _mistaken("simulate", error)


def _mistaken(command: str, error: Exception) -> int:
    """Says what is wrong with the command line; the line of the installed program is no news."""
    text = re.sub(r"^\[Errno \d+\] | \[ostria:\d+\]$", "", str(error))
    head = f"ostria {command}: "
    print(text if text.startswith(head) else head + text, file=sys.stderr)
    return 2
