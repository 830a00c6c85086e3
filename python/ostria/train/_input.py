# SPDX-License-Identifier: Apache-2.0
"""What a training run reads: one batch ahead, with a position that a checkpoint can hold.

The position is always that of the next batch to be handed out, never of the one read ahead.
Whatever an ``input_fn`` returns becomes a ``BatchReader`` here, and nowhere else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ostria._errors import at_line

_END = object()


class BatchReader:
    """Batches of one pass over ``source``, with one batch of lookahead.

    Args:
      source: a Dataset, another iterable of batches, or a tuple or dict of arrays: one batch.
      endless: whether a single batch of arrays is handed out again and again (training) or once.
      what: names the input in messages.

    Raises:
      TypeError: nothing to read batches from.
    """

    def __init__(self, source: Any, *, endless: bool = False, what: str = "input_fn") -> None:
        self._pending: Any = None
        self._has_pending = False
        self._before_pending: str | None = None
        self._iterator: Any
        self.is_constant = False
        if callable(getattr(source, "iterator", None)):
            self._iterator = source.iterator()
        elif is_batch(source):
            self.is_constant = True
            self._iterator = _Counting(lambda: _Constant(source, endless))
        elif isinstance(source, Iterable) and not isinstance(source, (str, bytes)):
            self._iterator = _Counting(lambda: source)
        else:
            raise TypeError(
                at_line(
                    f"{what} returned {_describe(source)}; it must return a Dataset, another "
                    "iterable of batches, or one batch of arrays such as (features, labels)"
                )
            )

    def __iter__(self) -> BatchReader:
        return self

    def __next__(self) -> Any:
        batch = self._take()
        if batch is _END:
            raise StopIteration
        self._pending, self._has_pending, self._before_pending = None, False, None
        return batch

    def peek(self) -> Any:
        """The batch that ``next`` will return; raises StopIteration at the end."""
        batch = self._take()
        if batch is _END:
            raise StopIteration
        return batch

    @property
    def at_end(self) -> bool:
        """Whether there is no further batch (reads one ahead to know)."""
        return self._take() is _END

    def save(self) -> str:
        """The position of the next batch, as text."""
        if self._before_pending is not None:
            return self._before_pending
        return str(self._iterator.save())

    def restore(self, position: str) -> None:
        """Goes to a saved position.

        Raises:
          ValueError: it was saved by another kind of input.
        """
        self._pending, self._has_pending, self._before_pending = None, False, None
        self._iterator.restore(position)

    @property
    def wait_seconds(self) -> float:
        """Time spent waiting for batches."""
        return float(self._iterator.wait_seconds)

    def _take(self) -> Any:
        if not self._has_pending:
            self._before_pending = str(self._iterator.save())
            self._pending = next(self._iterator, _END)
            self._has_pending = True
        return self._pending

    def advance(self) -> Any:
        """As ``next``, without asking for the position first: the quick way through a loop.

        Raises:
          StopIteration: at the end.
        """
        return next(self) if self._has_pending else next(self._iterator)


def takes_context(input_fn: Any) -> bool:
    """Whether a function wants an InputContext, by an argument named ``input_context``."""
    if not callable(input_fn):
        return False
    import inspect

    try:
        return "input_context" in inspect.signature(input_fn).parameters
    except (TypeError, ValueError):
        return False


def make_reader(input_fn: Any, *, endless: bool) -> BatchReader:
    """A reader of what ``input_fn`` is or returns, for a program without a strategy."""
    if takes_context(input_fn):
        from ostria.distribute import InputContext

        source = input_fn(input_context=InputContext())
    else:
        source = input_fn() if callable(input_fn) else input_fn
    return source if isinstance(source, BatchReader) else BatchReader(source, endless=endless)


class _Constant:
    """One batch: once, or for ever."""

    def __init__(self, batch: Any, endless: bool) -> None:
        self._batch, self._endless = batch, endless

    def __iter__(self) -> Iterator[Any]:
        yield self._batch
        while self._endless:
            yield self._batch


class _Counting:
    """Any iterable; its position is the number of batches read, restored by reading them again."""

    _KIND = "ostria.iterable.1"

    def __init__(self, make: Callable[[], Iterable[Any]]) -> None:
        self._make = make
        self._iterator = iter(make())
        self._count = 0
        self.wait_seconds = 0.0

    def __next__(self) -> Any:
        begin = time.perf_counter()
        try:
            batch = next(self._iterator)
        finally:
            self.wait_seconds += time.perf_counter() - begin
        self._count += 1
        return batch

    def save(self) -> str:
        return json.dumps({"kind": self._KIND, "batches": self._count})

    def restore(self, position: str) -> None:
        try:
            saved = json.loads(position)
            count = saved["batches"] if saved["kind"] == self._KIND else None
        except (ValueError, KeyError, TypeError):
            count = None
        if not isinstance(count, int):
            raise ValueError(at_line("the position was saved by another kind of input"))
        if self._count:
            self._iterator, self._count = iter(self._make()), 0
        for _ in range(count):
            if next(self._iterator, _END) is _END:
                raise ValueError(at_line(f"the input ends before batch {count}, where it was"))
            self._count += 1


def split_batch(batch: Any) -> tuple[Any, Any, Any]:
    """(features, labels, weights) of a batch; what it does not hold is None."""
    if isinstance(batch, tuple) and not hasattr(batch, "_fields"):
        if len(batch) == 1:
            return batch[0], None, None
        if len(batch) == 2:
            return batch[0], batch[1], None
        if len(batch) == 3:
            return batch[0], batch[1], batch[2]
        raise ValueError(
            at_line(
                f"input_fn: a batch is a tuple of {len(batch)} parts; accepted are features, "
                "(features, labels) and (features, labels, weights); put several arrays of "
                "features into a dict or a tuple of their own"
            )
        )
    return batch, None, None


def arguments(batch: Any) -> tuple[Any, ...]:
    """What a step is called with for a batch."""
    return batch if type(batch) is tuple else (batch,)


def batch_size(batch: Any) -> int:
    """Rows of the first array of a batch."""
    if isinstance(batch, dict):
        return batch_size(next(iter(batch.values()))) if batch else 0
    if isinstance(batch, (tuple, list)):
        return batch_size(batch[0]) if batch else 0
    shape: tuple[int, ...] = tuple(getattr(batch, "shape", ()))
    return shape[0] if shape else 1


def leaves(batch: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(name, array) of every array of a batch, as messages call them."""
    if isinstance(batch, dict):
        for key, value in batch.items():
            yield from leaves(value, f"{prefix}[{key!r}]")
    elif isinstance(batch, (tuple, list)):
        for key, value in enumerate(batch):
            yield from leaves(value, f"{prefix}[{key}]")
    elif batch is not None:
        yield prefix, batch


def is_batch(source: Any) -> bool:
    """Whether it is arrays: one batch, and not something to read batches from."""
    if isinstance(source, dict):
        return bool(source) and all(is_batch(v) for v in source.values())
    if isinstance(source, tuple):
        return bool(source) and all(v is None or is_batch(v) for v in source)
    return isinstance(source, np.ndarray) or hasattr(source, "__dlpack__")


def _describe(source: Any) -> str:
    text = "None" if source is None else f"{type(source).__name__} {source!r}"
    return text if len(text) <= 120 else text[:117] + "..."
