# SPDX-License-Identifier: Apache-2.0
"""DatasetIterator: one pass over a dataset, with a position that can be saved and restored."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ostria._errors import add_line, at_line

if TYPE_CHECKING:
    from ostria.data.dataset import Dataset


class DatasetIterator:
    """One pass over a dataset. Any thread may use it; calls wait for each other."""

    def __init__(self, dataset: Dataset, as_numpy: bool = False) -> None:
        self._dataset = dataset
        self._iterator = importlib.import_module("ostria._native").data.Iterator(dataset._handle)
        self._as_numpy = as_numpy

    def __iter__(self) -> DatasetIterator:
        return self

    def __next__(self) -> Any:
        try:
            leaves = self._iterator.next()
        except (TypeError, ValueError) as error:
            add_line(error)
            raise
        if leaves is None:
            raise StopIteration
        return self._dataset._nesting.get().pack(leaves)

    def save(self) -> str:
        """The position after the elements read so far, as text."""
        return str(self._iterator.save())

    def restore(self, state: str) -> None:
        """Goes to a saved position; what follows equals what followed there.

        Raises:
          ValueError: another pipeline saved it (the message names the difference), or the text is
            damaged.
        """
        if not isinstance(state, str):
            raise TypeError(
                at_line(f"restore: a {type(state).__name__} was given; save() returns a str")
            )
        try:
            self._iterator.restore(state)
        except ValueError as error:
            add_line(error)
            raise

    @property
    def wait_seconds(self) -> float:
        """Time that callers have spent waiting for elements."""
        return float(self._iterator.wait_nanoseconds()) * 1e-9

    @property
    def _ahead_seconds(self) -> float:
        """Time that the thread of a last `prefetch` has spent on elements."""
        return float(self._iterator.ahead_nanoseconds()) * 1e-9

    @property
    def elements(self) -> int:
        """Elements that this object has handed out."""
        return int(self._iterator.elements())
