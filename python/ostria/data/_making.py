# SPDX-License-Identifier: Apache-2.0
"""How datasets are made from others: what distribution needs to make them again, and the two kinds
whose making it changes: readers of files, and functions with random numbers.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ostria._checks import is_int
from ostria._errors import at_line

if TYPE_CHECKING:
    from ostria.data.dataset import Dataset

_MASK = (1 << 64) - 1


def _never(*_: Any) -> Dataset:
    raise AssertionError


@dataclass(frozen=True)
class Making:
    """Attributes:
    kind: the method's name, such as "shuffle".
    again: makes the same from other inputs, or of "from_files" from other files; sources that are
      neither are never made again.
    inputs: the datasets that it was made from.
    files: of "from_files", in the order of reading.
    details: arguments that distribution asks for.
    share: of "batch" where rows can be read alone: the same for one of several readers.
    """

    kind: str
    again: Callable[..., Dataset] = _never
    inputs: tuple[Dataset, ...] = ()
    files: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    share: Callable[[int, int, int], Dataset] | None = None


def list_files(files: Any) -> tuple[str, ...]:
    """Paths in one order on every machine: those of a pattern sorted, others as they are given.

    Raises:
      TypeError: neither a pattern nor paths.
      ValueError: no file, or one twice.
    """
    if isinstance(files, (str, os.PathLike)):
        pattern = os.fspath(files)
        found = sorted(glob.glob(pattern, recursive=True))
        if not found:
            raise ValueError(
                at_line(
                    f"from_files: no file matches '{pattern}' (in {os.getcwd()}); give another "
                    "pattern, or paths"
                )
            )
    elif isinstance(files, Sequence) and all(isinstance(f, (str, os.PathLike)) for f in files):
        found = [os.fspath(f) for f in files]
    else:
        raise TypeError(
            at_line(
                f"from_files: files is {type(files).__name__}; it must be a pattern such as "
                "'data/*.npz', or a list of paths"
            )
        )
    if not found:
        raise ValueError(at_line("from_files: the list of files is empty; give at least one"))
    twice = sorted({f for f in found if found.count(f) > 1}) if len(set(found)) < len(found) else []
    if twice:
        raise ValueError(at_line(f"from_files: '{twice[0]}' is listed twice; list every file once"))
    return tuple(found)


def read_in_turn(
    files: Sequence[str], reader: Callable[[str], Iterable[Any]]
) -> Callable[[], Iterator[Any]]:
    """A generator function of what ``reader`` gives, file after file."""

    def read() -> Iterator[Any]:
        for path in files:
            yield from reader(path)

    return read


def with_random(map_func: Callable[..., Any], seed: int, salt: int) -> Callable[..., Any]:
    """``map_func`` with a generator as its last argument, for elements of ``enumerate``."""
    if not is_int(seed):
        raise TypeError(at_line(f"map: seed is {seed!r}; it must be an integer or None"))

    def call(index: Any, value: Any) -> Any:
        # A stream of its own for each element: 2**128 numbers before the next one's begin.
        key, counter = (int(seed) & _MASK, salt), (0, 0, int(index), 0)
        rng = np.random.Generator(np.random.Philox(counter=counter, key=key))
        return map_func(*value, rng) if type(value) is tuple else map_func(value, rng)

    return call
