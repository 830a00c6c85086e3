# SPDX-License-Identifier: Apache-2.0
"""How batches become parts: what a step takes for each local replica, and where that stands.

Each class takes parts, says its position as text and goes to one. Parts are views of a batch.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from ostria._errors import at_line
from ostria.data import DatasetIterator
from ostria.data._structure import Structure

Part = tuple[Structure, list[np.ndarray[Any, Any]]]


def split_rows(rows: int, parts: int, each: int | None = None) -> list[tuple[int, int]]:
    """First row and end of each of ``parts`` parts of ``each`` rows, while they last.

    Without ``each`` that is ceil(rows / parts).

    >>> split_rows(8, 3)
    [(0, 3), (3, 6), (6, 8)]
    >>> split_rows(4, 5)
    [(0, 1), (1, 2), (2, 3), (3, 4), (4, 4)]
    """
    each = -(-rows // parts) if each is None else each
    return [(min(i * each, rows), min((i + 1) * each, rows)) for i in range(parts)]


def cut(batch: Any, parts: int, each: int | None = None) -> list[Part]:
    """The parts of a batch, as views; those without rows too. ``each``: rows of a whole part."""
    structure = Structure.of(batch)
    leaves = structure.flatten(batch)
    rows = None
    for leaf, name in zip(leaves, structure.names(), strict=True):
        if leaf.ndim == 0 or (rows is not None and len(leaf) != rows):
            what = "a scalar" if leaf.ndim == 0 else f"{len(leaf)} rows"
            raise ValueError(
                at_line(
                    f"distribute: {name} of a batch is {what}"
                    + (f", and {structure.names()[0]} has {rows} rows" if rows is not None else "")
                    + "; every array of a global batch needs the same number of rows, since "
                    "replicas get some of them each"
                )
            )
        rows = len(leaf)
    cuts = split_rows(rows or 0, parts, each)
    return [(structure, [leaf[a:b] for leaf in leaves]) for a, b in cuts]


def has_rows(part: Part) -> bool:
    return bool(part[1]) and len(part[1][0]) > 0


class GlobalBatches:
    """A global batch each step, of which every worker keeps its own parts.

    With ``is_share`` no others were read, and the rows of the global batch come with them.
    """

    def __init__(
        self, iterator: DatasetIterator, mine: range, in_sync: int, is_share: bool
    ) -> None:
        self._iterator, self._mine, self._in_sync = iterator, mine, in_sync
        self._is_share = is_share

    def take(self) -> list[Part | None]:
        for batch in self._iterator:
            if self._is_share:
                value, rows = batch
                return [*cut(value, len(self._mine), -(-int(rows) // self._in_sync))]
            parts = cut(batch, self._in_sync)
            if has_rows(parts[0]):  # a batch without a row is no step
                return [parts[i] for i in self._mine]
        return []

    def save(self) -> str:
        return self._iterator.save()

    def restore(self, text: str) -> None:
        self._iterator.restore(text)


class Stream:
    """This worker's own batches, cut into parts; a step takes the next ones that have rows.

    A step may end inside a batch: the position is then that before the batch, and how many of its
    parts were taken.
    """

    def __init__(self, iterator: DatasetIterator, parts: int, per_step: int) -> None:
        self._iterator, self._count, self._per_step = iterator, parts, per_step
        self._waiting: deque[Part] = deque()
        self._before = ""
        self._taken = 0

    def take(self) -> list[Part | None]:
        taken: list[Part | None] = []
        while len(taken) < self._per_step:
            if not self._waiting and not self._pull():
                break
            taken.append(self._waiting.popleft())
            self._taken += 1
        return taken

    def _pull(self) -> bool:
        if self._count > 1:
            self._before = self._iterator.save()
        for batch in self._iterator:
            self._waiting.extend(p for p in cut(batch, self._count) if has_rows(p))
            if self._waiting:
                self._taken = 0
                return True
            if self._count > 1:
                self._before = self._iterator.save()
        return False

    def save(self) -> str:
        if self._waiting:
            return f"{self._taken} {self._before}"
        return f"0 {self._iterator.save()}"

    def restore(self, text: str) -> None:
        taken, _, position = text.partition(" ")
        count = int(taken) if taken.isascii() and taken.isdigit() and len(taken) < 10 else -1
        if not 0 <= count <= self._count:
            raise ValueError(
                at_line(
                    "restore: the position is damaged: it does not begin with the number of parts "
                    "taken; use another checkpoint"
                )
            )
        self._iterator.restore(position)
        self._waiting.clear()
        if count:
            if not self._pull() or len(self._waiting) < count:
                raise ValueError(
                    at_line(
                        f"restore: the position is after part {count} of a batch that has fewer "
                        "now; a resumed input must yield what it yielded before"
                    )
                )
            for _ in range(count):
                self._waiting.popleft()
        self._taken = count


class Lanes:
    """A dataset of its own for each local replica, which takes the next batch with rows."""

    def __init__(self, iterators: Sequence[DatasetIterator]) -> None:
        self._lanes = [Stream(iterator, 1, 1) for iterator in iterators]

    def take(self) -> list[Part | None]:
        return [next(iter(lane.take()), None) for lane in self._lanes]

    def save(self) -> str:
        return json.dumps([lane.save() for lane in self._lanes])

    def restore(self, text: str) -> None:
        for lane, position in zip(self._lanes, json.loads(text), strict=True):
            lane.restore(position)
