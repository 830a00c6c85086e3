# SPDX-License-Identifier: Apache-2.0
"""The flags of `ostria launch`, checked before anything is started."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from ostria._errors import at_line
from ostria.cli.gpu import probe
from ostria.distribute._env_values import Values, join_address, split_address
from ostria.distribute._launchers import LaunchDefaults, read_launch_defaults

# More processes than that on one host are a typing mistake.
_MAX_NPROC = 4096


@dataclass(frozen=True)
class LaunchOptions:
    """What to start, checked.

    Attributes:
      nproc: processes on this host; of each host where there are several.
      min_nproc: with how many a restart may do, where the same rank fails again and again.
      nnodes, node_rank: number of hosts, and which of them this is.
      rendezvous: (host, port) where processes meet; port 0 for any free one.
      max_restarts: how often the whole job may be started again.
      log_dir: folder of a file per rank, or None.
      grace: seconds from SIGTERM to SIGKILL.
      command: the argument vector of each process.
    """

    nproc: int
    min_nproc: int
    nnodes: int
    node_rank: int
    rendezvous: tuple[str, int]
    max_restarts: int
    log_dir: str | None
    grace: float
    command: tuple[str, ...]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags; their defaults come from `read_options`."""
    add = parser.add_argument
    add("--nproc", metavar="N", help="processes on this host; auto: one per GPU, else per core")
    add("--nnodes", metavar="N", help="hosts; `ostria launch` runs once on each")
    add("--node-rank", metavar="R", help="which of the hosts this is, from 0")
    add("--rendezvous", metavar="HOST:PORT", help="an address of host 0, free there")
    add("--max-restarts", metavar="N", default="0", help="start the job again after a failure")
    add(
        "--min-nproc",
        metavar="N",
        help="where the same rank fails twice in a row, start again with one process less, and N "
        "at least; one host alone",
    )
    add("--log-dir", metavar="DIR", help="also write each rank's lines to a file in this folder")
    add(
        "--grace",
        metavar="SECONDS",
        default="30",
        help="time to save after SIGTERM, before SIGKILL; at most 5 s of it after a failure",
    )
    add("-m", "--module", action="store_true", help="run a module, as `python -m` does")
    add("script", help="a Python script, or with -m a module")
    add("args", nargs=argparse.REMAINDER, help="passed on to the script")


def read_options(given: argparse.Namespace, environ: Mapping[str, str]) -> LaunchOptions:
    """Flags, and Kubeflow's PET_* variables where a flag is missing.

    Raises:
      ValueError: a flag or a variable is not what it must be.
    """
    defaults = read_launch_defaults(Values(environ, "ostria launch"))
    nnodes = _whole("--nnodes", given.nnodes, 1, default=defaults.nnodes or 1)
    node_rank = _node_rank(given, defaults, nnodes)
    if not given.module and not os.path.exists(given.script):
        _refuse(f"there is no script '{given.script}'", "give a Python file, or -m and a module")
    start = ["-m", given.script] if given.module else [given.script]
    nproc = _nproc(given.nproc if given.nproc is not None else defaults.nproc or "1")
    max_restarts = _whole("--max-restarts", given.max_restarts, 0)
    return LaunchOptions(
        nproc=nproc,
        min_nproc=_min_nproc(given.min_nproc, nproc, nnodes, max_restarts),
        nnodes=nnodes,
        node_rank=node_rank,
        rendezvous=_rendezvous(given, defaults, nnodes),
        max_restarts=max_restarts,
        log_dir=given.log_dir,
        grace=_seconds("--grace", given.grace),
        command=(sys.executable, *start, *given.args),
    )


def count_threads(nproc: int) -> int:
    """Threads for each of ``nproc`` processes that share the cores of this host."""
    return max(1, len(os.sched_getaffinity(0)) // nproc)


def _nproc(text: str) -> int:
    if text != "auto":
        return _whole("--nproc", text, 1, most=_MAX_NPROC, other=", or auto")
    gpus = [p for p in probe()["parts"] if p["title"][:5] == "cuda:" and p["state"] == "works"]
    return len(gpus) or len(os.sched_getaffinity(0))


def _min_nproc(text: str | None, nproc: int, nnodes: int, max_restarts: int) -> int:
    if text is None:
        return nproc
    least = _whole("--min-nproc", text, 1, most=nproc, other=", which is --nproc")
    if nnodes > 1:
        _refuse(
            f"--min-nproc is {least}, but --nnodes is {nnodes}: every host has as many processes "
            "as all others",
            "leave it out; the same command with another --nproc or --nnodes goes on from the last "
            "checkpoint",
        )
    if least < nproc and max_restarts < 2:
        _refuse(
            f"--min-nproc is {least}, but --max-restarts is {max_restarts}: the first restart has "
            "as many processes as before",
            "give --max-restarts 2 or more",
        )
    return least


def _node_rank(given: argparse.Namespace, defaults: LaunchDefaults, nnodes: int) -> int:
    text = given.node_rank if given.node_rank is not None else defaults.node_rank
    if text is None:
        if nnodes > 1:
            _refuse(f"--nnodes is {nnodes}, but --node-rank is missing", f"give 0 to {nnodes - 1}")
        return 0
    rank = _whole("--node-rank", str(text), 0)
    if rank >= nnodes:
        _refuse(f"--node-rank is {rank}, but --nnodes is {nnodes}", f"give 0 to {nnodes - 1}")
    return rank


def _rendezvous(
    given: argparse.Namespace, defaults: LaunchDefaults, nnodes: int
) -> tuple[str, int]:
    text = given.rendezvous or (defaults.rendezvous if nnodes > 1 else None)
    if text is None:
        if nnodes > 1:
            _refuse(
                f"--nnodes is {nnodes}, but --rendezvous is missing",
                "give host:port, an address of host 0 that is free there",
            )
        return "127.0.0.1", 0
    try:
        return split_address(text)
    except ValueError:
        what = f"--rendezvous is '{text}'"
        _refuse(what, f"give host:port, such as {join_address('node1', 29400)}")


def _whole(
    flag: str,
    text: str | None,
    least: int,
    *,
    default: int = 0,
    most: int = 1_000_000,
    other: str = "",
) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
        _refuse(f"{flag} is '{text}'", f"give an integer from {least} to {most}{other}")
    return int(text)


def _seconds(flag: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 86400:
        _refuse(f"{flag} is '{text}'", "give seconds from 0 to 86400")
    return value


def _refuse(what: str, remedy: str) -> NoReturn:
    raise ValueError(at_line(f"ostria launch: {what}; {remedy}"))
