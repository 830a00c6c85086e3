# SPDX-License-Identifier: Apache-2.0
"""The flags of `ostria simulate`, checked before anything runs."""

from __future__ import annotations

import argparse
import os
import re
from dataclasses import dataclass
from typing import NoReturn

from ostria._errors import at_line
from ostria.cli.simulate.topology import DEFAULT, FORMS, TIMES
from ostria.distribute._env_values import MAX_WORLD_SIZE

MAX_JOINED = 1000  # ranks that really join; each takes two threads and four descriptors
MAX_STEPS = 1000


@dataclass(frozen=True)
class SimulateOptions:
    """What to simulate, checked; the topology is read later, for it may be measured.

    Attributes:
      world: number of ranks, of one device each.
      topology: its text.
      steps: how many are measured, after one that traces and plans.
      function: name of the function whose runs are steps, or empty.
      step_time: seconds of computing that a step takes elsewhere, or None.
      calibrate: links that the topology leaves out are measured.
      joined: how many ranks really join, to be timed.
      checkpoint_time: seconds that a checkpoint keeps all ranks.
      json: file of the report, or None.
      script, args: what is run.
    """

    world: int
    topology: str
    steps: int
    function: str
    step_time: float | None
    calibrate: bool
    joined: int
    checkpoint_time: float
    json: str | None
    script: str
    args: tuple[str, ...]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags; `read_options` reads them."""
    add = parser.add_argument
    add("--world", metavar="N", required=True, help="number of ranks, of one device each")
    add(
        "--topology",
        metavar="TEXT",
        default="",
        help=f"nodes, gpus and nics of a node, and the links intra and inter: {FORMS}; what is "
        f"left out is that of {DEFAULT}",
    )
    add("--steps", metavar="N", default="5", help="steps to measure, after the first one")
    add("--function", metavar="NAME", default="", help="whose runs are steps; else what reduces")
    add("--step-time", metavar="TIME", help="of computing on another device, such as 38ms")
    add("--calibrate", action="store_true", help="measure links that --topology leaves out here")
    add("--rendezvous", metavar="RANKS", help=f"that really join; at most {MAX_JOINED}, 0 for none")
    add("--checkpoint-time", metavar="TIME", default="30s", help="that saving keeps all ranks")
    add("--json", metavar="FILE", help="also write all figures there")
    add("script", help="a Python script that trains with MultiWorkerMirroredStrategy")
    add("args", nargs=argparse.REMAINDER, help="passed on to the script")


def read_options(given: argparse.Namespace) -> SimulateOptions:
    """Flags as values.

    Raises:
      ValueError: one is not what it must be.
    """
    if not os.path.isfile(given.script):
        _refuse(f"there is no script '{given.script}'", "give a Python file")
    if given.json is not None and not os.path.isdir(os.path.dirname(given.json) or "."):
        _refuse(f"--json is '{given.json}', whose folder is not there", "make it, or name another")
    world = _whole("--world", given.world, 1, MAX_WORLD_SIZE)
    joined = min(world, MAX_JOINED)
    if given.rendezvous is not None:
        joined = _whole("--rendezvous", given.rendezvous, 0, joined)
    return SimulateOptions(
        world=world,
        topology=given.topology,
        steps=_whole("--steps", given.steps, 1, MAX_STEPS),
        function=given.function,
        step_time=None if given.step_time is None else _time("--step-time", given.step_time),
        calibrate=given.calibrate,
        joined=joined,
        checkpoint_time=_time("--checkpoint-time", given.checkpoint_time),
        json=given.json,
        script=given.script,
        args=tuple(given.args),
    )


def _whole(flag: str, text: str, least: int, most: int) -> int:
    if not (re.fullmatch("[0-9]{1,9}", text) and least <= int(text) <= most):
        _refuse(f"{flag} is '{text}'", f"give an integer from {least} to {most}")
    return int(text)


def _time(flag: str, text: str) -> float:
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ns|us|ms|s)", text)
    if found is None or float(found[1]) == 0:
        _refuse(f"{flag} is '{text}'", "give a number above 0 with ns, us, ms or s, such as 38ms")
    return float(found[1]) * TIMES[found[2]]


def _refuse(what: str, remedy: str) -> NoReturn:
    raise ValueError(at_line(f"ostria simulate: {what}; {remedy}"))
