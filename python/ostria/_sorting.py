# SPDX-License-Identifier: Apache-2.0
"""Sorting and searching with the Array API's keywords; the ops do the work."""

from __future__ import annotations

from typing import Any

from ostria import _native
from ostria._functions import astensor
from ostria._keywords import checked_keywords

__all__ = ["argsort", "searchsorted", "sort"]

_ops = _native.ops


@checked_keywords("sort")
def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """The elements of `x` in order along an axis; NaN comes last, descending too.

    The order is always stable, whatever `stable` says. The gradient goes where each element came
    from.

    >>> import ostria as ost
    >>> ost.sort(ost.asarray([2, 3, 1]), descending=True).numpy().tolist()
    [3, 2, 1]
    """
    return _ops.sort(x, axis, descending)


@checked_keywords("argsort")
def argsort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """The int64 positions that put the elements of `x` in order along an axis, as `sort` does.

    >>> import ostria as ost
    >>> ost.argsort(ost.asarray([2, 3, 1])).numpy().tolist()
    [2, 0, 1]
    """
    return _ops.argsort(x, axis, descending)


@checked_keywords("searchsorted")
def searchsorted(x1: Any, x2: Any, /, *, side: str = "left", sorter: Any = None) -> Any:
    """Where the elements of `x2` belong among those of the vector `x1`, which is in order.

    The int64 position before which each would be inserted: left of equal elements, or right of
    them with `side="right"`. With borders for `x1` it is the number of a bucket.

    Args:
        sorter: the positions that put `x1` in order, where it is not.

    >>> import ostria as ost
    >>> borders = ost.asarray([0.0, 10.0, 20.0])
    >>> ost.searchsorted(borders, ost.asarray([-1.0, 10.0, 25.0]), side="right").numpy().tolist()
    [0, 2, 3]
    """
    if sorter is not None:
        x1 = _ops.gather(x1, _ops.cast(astensor(sorter), _native.int64), 0)
    return _ops.searchsorted(x1, x2, side)
