# SPDX-License-Identifier: Apache-2.0
"""The command line: `ostria doctor`, also as `python -m ostria doctor`."""

from __future__ import annotations

import argparse
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
    arguments = parser.parse_args(argv)

    from ostria.cli.doctor import doctor as run_doctor

    return run_doctor(as_json=arguments.json, out=sys.stdout)
