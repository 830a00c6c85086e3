# SPDX-License-Identifier: Apache-2.0
"""NumPy-style indexing and `split`, made of slice, gather, squeeze and expand_dims."""

from __future__ import annotations

import builtins
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ostria import _native
from ostria._errors import at_line
from ostria._functions import asarray, astensor, valid_axis

_ops = _native.ops
_OPEN_STOP = 2**63 - 1
_OPEN_BEFORE_START = -(2**63)


def split(x: Any, sections: int | Sequence[int], axis: int = 0) -> list[Any]:
    """`x` cut along an axis: into `sections` equal parts, or parts of the given sizes.

    Raises:
        ValueError: the sizes do not add up to the size of the axis.
    """
    x = astensor(x)
    axis = valid_axis("split", axis, x)
    total = x.shape[axis]
    if isinstance(sections, int):
        if sections < 1 or not isinstance(total, int) or total % sections:
            raise ValueError(
                at_line(
                    f"split: {sections} equal parts of axis {axis} of size {total} are not "
                    "possible; "
                    "give the size of each part as a list"
                )
            )
        sizes = [total // sections] * sections
    else:
        sizes = list(sections)
        if isinstance(total, int) and builtins.sum(sizes) != total:
            raise ValueError(
                at_line(
                    f"split: the sizes {sizes} add up to {builtins.sum(sizes)}, but axis {axis} "
                    "has "
                    f"size {total}"
                )
            )
    parts, at = [], 0
    for size in sizes:
        index = [slice(None)] * x.ndim
        index[axis] = slice(at, at + size)
        parts.append(getitem(x, tuple(index)))
        at += size
    return parts


def getitem(x: Any, index: Any) -> Any:
    """NumPy-style indexing: ints, slices, `...`, None, one int array; outside traces a bool mask.

    Raises:
        IndexError: an index is out of range, or too many were given.
        TypeError: an index of another type.
    """
    x = astensor(x)
    items = list(index) if isinstance(index, tuple) else [index]
    given = builtins.sum(1 for i in items if i is not None and i is not Ellipsis)
    if given > x.ndim:
        raise IndexError(
            at_line(
                f"indexing: {given} indices for a tensor of rank {x.ndim} (shape {list(x.shape)})"
            )
        )
    if not any(i is Ellipsis for i in items):
        items.append(Ellipsis)
    at = next(i for i, item in enumerate(items) if item is Ellipsis)
    items[at : at + 1] = [slice(None)] * (x.ndim - given)

    start: list[int] = []
    stop: list[int] = []
    step: list[int] = []
    drop: list[int] = []
    insert: list[int] = []
    gathers: list[tuple[int, Any]] = []
    axis = 0
    for item in items:
        if item is None:
            insert.append(axis - len(drop) + len(insert))
            continue
        size = x.shape[axis]
        if isinstance(item, slice):
            start.append(_slice_bound(item.start, item.step, is_start=True))
            stop.append(_slice_bound(item.stop, item.step, is_start=False))
            step.append(1 if item.step is None else operator.index(item.step))
        elif isinstance(item, (int, np.integer)) and not isinstance(item, bool):
            i = int(item)
            if isinstance(size, int) and not -size <= i < size:
                raise IndexError(
                    at_line(
                        f"indexing: index {i} is out of range for axis {axis} of size {size}; "
                        f"valid are {-size}..{size - 1}"
                    )
                )
            start.append(i)
            stop.append(i + 1 if i != -1 else _OPEN_STOP)
            step.append(1)
            drop.append(axis)
        elif isinstance(item, (list, np.ndarray, _native.Tensor, _native.Variable)):
            start.append(0)
            stop.append(_OPEN_STOP)
            step.append(1)
            gathers.append((axis, item))
        else:
            raise TypeError(
                at_line(
                    f"indexing: {item!r} cannot index a tensor; accepted are ints, slices, '...', "
                    "None, and one integer or boolean array"
                )
            )
        axis += 1
    if len(gathers) > 1:
        raise TypeError(
            at_line(
                "indexing: several index arrays at once are not supported; use ost.gather per axis"
            )
        )
    if (
        any(s != 0 for s in start)
        or any(s != _OPEN_STOP for s in stop)
        or any(s != 1 for s in step)
    ):
        x = _ops.slice(x, start, stop, step)
    for axis, item in gathers:
        x = _gather_index(x, item, axis)
    if drop:
        x = _ops.squeeze(x, drop)
    for place in insert:
        x = _ops.expand_dims(x, (place,))
    return x


def _slice_bound(bound: Any, step: Any, *, is_start: bool) -> int:
    if bound is not None:
        return operator.index(bound)
    backwards = step is not None and step < 0
    if is_start:
        return _OPEN_STOP if backwards else 0
    return _OPEN_BEFORE_START if backwards else _OPEN_STOP


def _gather_index(x: Any, item: Any, axis: int) -> Any:
    indices = astensor(item)
    if indices.dtype == _native.bool_:
        if indices.is_traced:
            raise TypeError(
                at_line(
                    "indexing with a mask has a result whose size depends on data, which a traced "
                    "function cannot have; use ost.where"
                )
            )
        if indices.ndim != 1 or indices.shape[0] != x.shape[axis]:
            raise IndexError(
                at_line(
                    f"indexing: a mask of shape {list(indices.shape)} does not fit axis {axis} of "
                    f"size {x.shape[axis]}; give a vector with one value for each place of the "
                    "axis, or reshape the tensor"
                )
            )
        indices = asarray(np.nonzero(indices.numpy())[0])
    return _ops.gather(x, indices, axis)
