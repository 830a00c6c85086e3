# SPDX-License-Identifier: Apache-2.0
"""NumPy-style indexing and `split`, made of slice, gather, squeeze and expand_dims."""

from __future__ import annotations

import builtins
import math
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
    """NumPy-style indexing: ints, slices, `...`, None and one array, of integers or a bool mask.

    A mask covers as many axes as it has; what it selects lies along one. Its values must be known,
    so a mask that a traced function computes is an error.

    Raises:
        IndexError: an index is out of range, a mask does not fit, or too many were given.
        TypeError: an index of another type.
    """
    x = astensor(x)
    items = [_item(i) for i in (index if isinstance(index, tuple) else (index,))]
    if builtins.sum(isinstance(i, _native.Tensor) for i in items) > 1:
        raise TypeError(
            at_line(
                "indexing: several index arrays at once are not supported; use ost.gather per axis"
            )
        )
    given = builtins.sum(_axes_of(i) for i in items)
    if given > x.ndim and not (len(items) == 1 and _is_mask(items[0])):
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
    gathers: list[tuple[int, int, Any]] = []  # (axis once `drop` is gone, axes covered, indices)
    axis = place = 0  # in x and in the result
    for item in items:
        if item is None:
            insert.append(place)
            place += 1
            continue
        covers = _axes_of(item)
        if isinstance(item, _native.Tensor):
            indices = _positions(x, item, axis) if _is_mask(item) else item
            gathers.append((axis - len(drop), covers, indices))
            start += [0] * covers
            stop += [_OPEN_STOP] * covers
            step += [1] * covers
            place += indices.ndim
        elif isinstance(item, slice):
            start.append(_slice_bound(item.start, item.step, is_start=True))
            stop.append(_slice_bound(item.stop, item.step, is_start=False))
            step.append(1 if item.step is None else operator.index(item.step))
            place += 1
        elif isinstance(item, (int, np.integer)) and not isinstance(item, bool):
            i, size = int(item), x.shape[axis]
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
        else:
            raise TypeError(
                at_line(
                    f"indexing: {item!r} cannot index a tensor; accepted are ints, slices, '...', "
                    "None, and one integer or boolean array"
                )
            )
        axis += covers
    if (
        any(s != 0 for s in start)
        or any(s != _OPEN_STOP for s in stop)
        or any(s != 1 for s in step)
    ):
        x = _ops.slice(x, start, stop, step)
    if drop:
        x = _ops.squeeze(x, drop)
    for axis, covers, indices in gathers:
        if covers > 1:
            x = _ops.reshape(x, _merged(x.shape, axis, covers))
        x = _ops.gather(x, indices, axis)
    for place in insert:
        x = _ops.expand_dims(x, (place,))
    return x


def _item(item: Any) -> Any:
    """An index, arrays as tensors; an empty list selects nothing."""
    if isinstance(item, _native.Variable):
        return item.value()
    if isinstance(item, list) and not item:
        return asarray(np.zeros(0, np.int64))
    return asarray(item) if isinstance(item, (list, np.ndarray)) else item


def _is_mask(item: Any) -> bool:
    return isinstance(item, _native.Tensor) and item.dtype == _native.bool_


def _axes_of(item: Any) -> int:
    """How many axes of the tensor an index stands for."""
    if _is_mask(item):
        return int(item.ndim)
    return 0 if item is None or item is Ellipsis else 1


def _merged(shape: Any, axis: int, count: int) -> list[Any]:
    """`shape` with `count` axes made one."""
    return [*shape[:axis], math.prod(shape[axis : axis + count]), *shape[axis + count :]]


def _slice_bound(bound: Any, step: Any, *, is_start: bool) -> int:
    if bound is not None:
        return operator.index(bound)
    backwards = step is not None and step < 0
    if is_start:
        return _OPEN_STOP if backwards else 0
    return _OPEN_BEFORE_START if backwards else _OPEN_STOP


def _positions(x: Any, mask: Any, axis: int) -> Any:
    """Where `mask` is true, counted along the axes it covers; int64[count]."""
    if mask.is_traced:
        raise TypeError(
            at_line(
                "indexing with a mask has a result whose size depends on data, which a traced "
                "function cannot have; keep the size with ost.where(mask, x, 0), or index outside "
                "the function"
            )
        )
    covered = tuple(x.shape[axis : axis + mask.ndim])
    if mask.ndim == 0 or tuple(mask.shape) != covered:
        axes = f"axes {axis}..{axis + mask.ndim - 1} of a tensor of shape {list(x.shape)}"
        if mask.ndim == 0:
            axes = f"a tensor of shape {list(x.shape)}"
        elif mask.ndim == 1 and covered:
            axes = f"axis {axis} of size {x.shape[axis]}"
        raise IndexError(
            at_line(
                f"indexing: a mask of shape {list(mask.shape)} does not fit {axes}; give one "
                "value for each place of the axes it covers"
            )
        )
    return asarray(np.flatnonzero(mask.numpy()))
