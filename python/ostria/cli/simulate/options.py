# SPDX-License-Identifier: Apache-2.0
"""The flags of `ostria simulate`, checked before anything runs."""

from __future__ import annotations

import argparse
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ostria import _compile, _functions, _plan
from ostria._errors import at_line
from ostria._native import DeviceUnavailableError
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
      real: whether so many processes of this machine do it too, to compare.
      joined: how many ranks really join, to be timed.
      device: the description of a GPU whose plan says what memory a rank takes, or None.
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
    real: bool
    joined: int
    device: str | None
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
    add("--real", action="store_true", help="compare with so many processes of this machine")
    add("--rendezvous", metavar="RANKS", help=f"that really join; at most {MAX_JOINED}, 0 for none")
    add("--device", metavar="JSON", help="a GPU's description, to plan memory for; else this CPU")
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
    if given.real:
        _check_real(world, given)
    joined = min(world, MAX_JOINED)
    if given.rendezvous is not None:
        joined = _whole("--rendezvous", given.rendezvous, 0, joined)
    return SimulateOptions(
        world=world,
        topology=given.topology,
        steps=_whole("--steps", given.steps, 1, MAX_STEPS),
        function=given.function,
        step_time=None if given.step_time is None else _time("--step-time", given.step_time),
        calibrate=given.calibrate or given.real,
        real=given.real,
        joined=joined,
        device=None if given.device is None else _description(given.device),
        checkpoint_time=_time("--checkpoint-time", given.checkpoint_time),
        json=given.json,
        script=given.script,
        args=tuple(given.args),
    )


def _check_real(world: int, given: argparse.Namespace) -> None:
    cores = len(os.sched_getaffinity(0))
    if not 2 <= world <= cores:
        what = f"--real starts as many processes as --world says, {world}"
        _refuse(what, f"give 2 to {cores}, as many as there are cores, or leave --real out")
    if given.topology or given.step_time is not None:
        what = "--real compares with this machine, whose links and computing are measured"
        _refuse(what, "leave --topology and --step-time out")


def _description(path: str) -> str:
    """What the file says, if a plan can be made for it."""
    if not os.path.isfile(path):
        what = "give one as fn.plan_for('cuda', …).description says it where the GPU is"
        _refuse(f"--device is '{path}', which is no file", what)
    _, description = _plan.described(Path(path))
    try:
        _compile.compile(lambda x: x + x).plan_for(description, _functions.zeros(2))
    except DeviceUnavailableError as error:
        _refuse(f"--device is '{path}', and nothing can be planned for it: {error}", "leave it out")
    return description


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
