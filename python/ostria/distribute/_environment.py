# SPDX-License-Identifier: Apache-2.0
"""Which of how many processes this is, and where they meet: read from a launcher's variables.

The first row of the table in ``_launchers`` that matches wins; it is the innermost launcher. Values
that are incomplete, damaged or contradict each other are errors. A row further down that disagrees,
such as Slurm's around a launcher of its own, is named in one warning.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from ostria._errors import at_line
from ostria.distribute._env_values import IncompleteError, Values
from ostria.distribute._launchers import TABLE, Fields, Launcher, read_added


@dataclass(frozen=True)
class WorkerEnvironment:
    """The place of this process among those that train together.

    Attributes:
      rank: 0 to world_size - 1; rank 0 is the chief.
      world_size: number of processes.
      local_rank, local_size: the same among the processes of this host.
      node_rank, node_count: the same of hosts. These four are None where the launcher does not say.
      rendezvous: `host:port` where processes meet; None where it must be given otherwise.
      launcher: name of the row of the table, such as "Slurm".
      restart_count: how often the job was started again.
      variables: names of the environment variables that were read.
      task_type: "worker", "chief", or "evaluator", which stands outside and is alone in its world.
    """

    rank: int
    world_size: int
    local_rank: int | None
    local_size: int | None
    node_rank: int | None
    node_count: int | None
    rendezvous: str | None
    launcher: str
    restart_count: int
    variables: tuple[str, ...]
    task_type: str = "worker"

    def __str__(self) -> str:
        where = f", local rank {self.local_rank}" if self.local_rank is not None else ""
        meet = f", rendezvous {self.rendezvous}" if self.rendezvous else ""
        return (
            f"rank {self.rank} of {self.world_size}{where}{meet} "
            f"({self.launcher}: {', '.join(self.variables)})"
        )


def read_environment(environ: Mapping[str, str] | None = None) -> WorkerEnvironment | None:
    """The place of this process, or None where no launcher's variables are set.

    Args:
      environ: variables by name; the process's own if None.

    Raises:
      ValueError: variables of the launcher that counts are missing, damaged or contradict each
        other; the message names variable, value and what is accepted.

    Warns:
      RuntimeWarning: another launcher's variables say something else.

    >>> env = {"OSTRIA_RANK": "1", "OSTRIA_WORLD_SIZE": "2"}
    >>> print(read_environment(env))
    rank 1 of 2 (explicit: OSTRIA_RANK, OSTRIA_WORLD_SIZE)
    """
    environ = os.environ if environ is None else environ
    winner: WorkerEnvironment | None = None
    others = []
    # What was added for the launcher that counts says nothing about others.
    foreign = {k: v for k, v in environ.items() if not k.startswith("OSTRIA_")}
    for row in TABLE:
        values = Values(environ, row.name)
        if not row.matches(values):
            continue
        if winner is None:
            winner = _read(row, values)
            continue
        try:
            other = _read(row, Values(foreign, row.name))
        except IncompleteError:
            continue
        except ValueError as error:
            others.append(f"those of {row.name} cannot be read ({error})")
            continue
        if other is not None and _differ(winner, other):
            others.append(f"{row.name} says rank {other.rank} of {other.world_size}")
    if winner is None:
        for name in ("OSTRIA_WORLD_SIZE", "OSTRIA_LOCAL_RANK"):
            if environ.get(name, "").strip():
                Values(environ, "explicit").text("OSTRIA_RANK", "the rank of this process")
    elif others:
        warnings.warn(
            f"the variables of {winner.launcher} say rank {winner.rank} of {winner.world_size}, "
            f"and that counts; {'; '.join(others)}",
            RuntimeWarning,
            stacklevel=2,
        )
    return winner


def _read(row: Launcher, values: Values) -> WorkerEnvironment | None:
    fields = row.read(values)
    if fields is None:
        return None
    for key, added in read_added(values).items():
        known = fields.setdefault(key, added)
        if known.value != added.value:
            values.refuse(
                added.source, str(added.value), f"{known.value}, as {known.source} says, or unset"
            )
    _check(row.name, fields)

    def number(key: str) -> int | None:
        return int(fields[key].value) if key in fields else None

    place = fields.get("rendezvous")
    return WorkerEnvironment(
        rank=int(fields["rank"].value),
        world_size=int(fields["world_size"].value),
        local_rank=number("local_rank"),
        local_size=number("local_size"),
        node_rank=number("node_rank"),
        node_count=number("node_count"),
        rendezvous=None if place is None else str(place.value),
        launcher=row.name,
        restart_count=number("restart_count") or 0,
        variables=tuple(values.used),
        task_type=str(fields["task_type"].value) if "task_type" in fields else "worker",
    )


def _check(launcher: str, fields: Fields) -> None:
    """Refuses what cannot be true whatever the launcher meant."""
    for small, large, strict in (
        ("rank", "world_size", True),
        ("local_rank", "local_size", True),
        ("node_rank", "node_count", True),
        ("local_size", "world_size", False),
        ("node_count", "world_size", False),
    ):
        if small not in fields or large not in fields:
            continue
        a, b = fields[small], fields[large]
        if int(a.value) < int(b.value) or (not strict and a.value == b.value):
            continue
        accepted = "below" if strict else "at most"
        raise ValueError(
            at_line(
                f"{launcher}: {small} is {a.value} ({a.source}), but {large} is {b.value} "
                f"({b.source}); {small} must be {accepted} {large}; correct the variables, or "
                "unset them"
            )
        )


def _differ(a: WorkerEnvironment, b: WorkerEnvironment) -> bool:
    return (a.rank, a.world_size) != (b.rank, b.world_size)
