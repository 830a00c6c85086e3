# SPDX-License-Identifier: Apache-2.0
"""What belongs to a whole step, also where a function inside of it is traced on its own.

A step is the graph that a compiled function becomes, or one control op that runs at once. Draws and
updates are counted there, and what they left to do is done when it ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ostria import _native
from ostria._errors import at_line

# In the scratch of a body's trace: its step and the step numbers of the loops around it; or the
# trace that it stands in for.
_ROOT = "step"
_STANDS_IN = "stands_in_for"


class Step:
    """Notes of a step and what ends it."""

    def __init__(self, trace: Any = None) -> None:
        self.trace = trace  # None: it runs at once
        self.notes: dict[Any, Any] = {} if trace is None else trace.scratch
        self.finish: list[Callable[[], None]] = self.notes.setdefault("finish", [])
        self._commit: Any = None

    @property
    def at_once(self) -> bool:
        return self.trace is None

    @property
    def commit(self) -> Any:
        """The last decision whether the step changes state; None where nothing decides."""
        return self._commit if self.trace is None else self.trace.commit

    def before(self, variable: Any) -> Any:
        """A variable's value in the step itself, not in the body that is traced."""
        return (
            _native.tensor_from_array(variable.numpy(), True)
            if self.at_once
            else self.trace.use(variable)
        )

    def end(self, commit: Any) -> None:
        """Does what is left to do of what ran at once, with the decision that it came to."""
        if self.trace is None:
            self._commit = commit
            for callback in self.finish:
                callback()


def current() -> tuple[Step, tuple[Any, ...]]:
    """The running step and the step numbers of the loops around; a new one outside of traces."""
    trace = _counting()
    if trace is None or trace.is_tape:
        return Step(), ()
    if trace.is_body:
        step, loops = trace.scratch[_ROOT]
        return step, loops
    return Step(trace), ()


def notes() -> dict[Any, Any]:
    """The notes of the running step."""
    return current()[0].notes


def in_body() -> bool:
    """Whether what is traced is a function of a control op, not the step itself."""
    trace = _counting()
    return trace is not None and trace.is_body


def enter(body: Any, step: Step, loops: tuple[Any, ...]) -> None:
    """Says what `body`, the trace of a function, is part of."""
    body.scratch[_ROOT] = (step, loops)


def enter_as(body: Any, outer: Any) -> None:
    """Says that `body` is as good as `outer` itself: what is counted there is counted in that."""
    body.scratch[_STANDS_IN] = outer


def _counting() -> Any:
    trace = _native.current_trace()
    while trace is not None and _STANDS_IN in trace.scratch:
        trace = trace.scratch[_STANDS_IN]
    return trace


class MicroBatch:
    """Rows `begin` to `end` of a batch of `rows`; what draws are made for all of them is known.

    Sizes are ints, or those of a trace. `part` is the share of the rows; `draws` shapes in the
    whole batch, noted where that is traced; `counts` what was counted over all replicas, which the
    first micro-batch does for all.
    """

    def __init__(
        self,
        begin: Any,
        end: Any,
        rows: Any,
        part: Any,
        draws: dict[Any, tuple[Any, ...]],
        counts: list[Any],
    ) -> None:
        self._begin, self.size, self.rows, self.part = begin, end - begin, rows, part
        self._draws, self.counts, self._counted = draws, counts, 0

    def next_count(self) -> int:
        """Which of `counts` is asked for now: all micro-batches ask in the same order."""
        self._counted += 1
        return self._counted - 1

    def place(self, draw: Any, shape: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
        """(its shape in the whole batch, the row at which it begins there) of a draw.

        Raises:
            ValueError: its rows do not lie along its first axis.
        """
        if self.size == self.rows:
            self._draws[draw] = shape
        whole = self._draws.get(draw, shape)
        if whole == shape:  # also what has nothing to do with rows
            return shape, 0
        first = self._first_row(whole[0], shape[0]) if whole[1:] == shape[1:] else None
        if first is None:
            raise ValueError(
                at_line(
                    f"minimize_batch: random numbers of shape {list(whole)} for {self.rows} rows "
                    f"are {list(shape)} for {self.size}, so they are not split along the first "
                    "axis and would be others in micro-batches; draw them with the batch first, "
                    "or outside of the loss function"
                )
            )
        return whole, first

    def _first_row(self, whole: Any, size: Any) -> Any:
        """Where `size` rows of a draw of `whole` begin; None: they are no part of it like ours."""
        if isinstance(self.rows, int):
            first, rest = divmod(self._begin * whole, self.rows)
            return first if not rest and whole * self.size == size * self.rows else None
        times = whole // self.rows
        fits = times * self.rows == whole and times * self.size == size
        return self._begin * times if fits else None


class ReplicaRows:
    """Where a replica's rows begin in the batch of all replicas, so that draws count them there."""

    def __init__(self, replica_id: Any, first_row: Any, batch: Any) -> None:
        self._replica_id, self._first_row = replica_id, first_row  # traced scalars
        self._batch = batch  # a SymInt; None where replicas are given no rows of their own
        self.is_asked = False  # whether the graph depends on the first row

    def place(self, shape: Any) -> tuple[Any, Any]:
        """(first row, what to mix into the key) of a draw of this shape; None: nothing.

        A draw without rows is the same on all replicas. One whose rows do not lie along its first
        axis has other numbers on each replica, but not those of one device with all rows.
        """
        sizes = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
        if self._batch is None or all(isinstance(size, int) for size in sizes):
            return 0, None
        if not isinstance(sizes[0], int) and all(isinstance(size, int) for size in sizes[1:]):
            times = sizes[0] // self._batch
            times = times if isinstance(times, int) else times._value()
            if times is not None and times * self._batch == sizes[0]:
                self.is_asked = True
                return self._first_row if times == 1 else self._first_row * times, None
        return 0, self._replica_id


def draw_counts(notes: dict[Any, Any]) -> dict[Any, dict[str, int]]:
    """How many draws there were so far, by generator and path."""
    return {
        key: dict(counts)
        for key, counts in notes.items()
        if isinstance(key, tuple) and key[0] == "generator"
    }


def set_draw_counts(notes: dict[Any, Any], counts: dict[Any, dict[str, int]]) -> None:
    """Goes back to `counts`: what draws next repeats the draws since."""
    for key in draw_counts(notes):
        notes[key].clear()
        notes[key].update(counts.get(key, {}))
