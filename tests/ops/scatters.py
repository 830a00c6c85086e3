# SPDX-License-Identifier: Apache-2.0
"""Rows of scatters and segments: slices that indices put together by one rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from families import nearby
from row import A, I, Mistake, Row, S, V, tensor

import ostria as ost

ops = ost._native.ops


def scatter(op: str, rule: Callable[[Any, Any], Any], dtypes: tuple[str, ...]) -> Row:
    """`rule(old, update)` is what becomes of a slice."""

    def ref(x: Any, indices: Any, updates: Any, axis: int = 0) -> Any:
        """One slice at a time, in order."""
        y = np.moveaxis(x.copy(), axis, 0)
        width = np.ndim(indices)
        u = np.moveaxis(updates, range(axis % x.ndim, axis % x.ndim + width), range(width))
        u = u.reshape((np.size(indices), *u.shape[width:]))
        for i, index in enumerate(np.ravel(indices)):
            y[index] = rule(y[index], u[i])
        return np.moveaxis(y, 0, axis)

    def call(index: int, updates: int) -> Any:
        return getattr(ops, op)(
            tensor(np.ones(3)), tensor(np.int64([index])), tensor(np.ones(updates))
        )

    return Row(
        op=op,
        ref=ref,
        samples=(
            S(A(4), V(2, "int32"), A()),
            S(A(1), V([0, -1, 0], "int64"), A(3)),
            S(A(4), I(0, high=1), A(0)),
            S(A(4, 3), I("n", low=-4, high=4), A("n", 3)),
            S(A("n", 3), I(2, low=-3, high=3), A("n", 2), axis=1),
            S(A(2, 3, 2), I(4, 2, low=-3, high=3, dtype="int32"), A(2, 4, 2, 2), axis=1),
            S(A(71, 229), I(101, low=-71, high=71), A(101, 229)),
            S(A(71, 229), I(31, low=-229, high=229), A(71, 31), axis=-1),
        ),
        dtypes=dtypes,
        domain_of=nearby,
        gradients=(0, 2),
        errors=(
            Mistake(
                lambda: call(-4, 1),
                IndexError,
                f"{op}: index -4 (number 0 of 1) is out of range for an axis of size 3; valid "
                "indices are -3..2",
            ),
            Mistake(
                lambda: call(0, 2),
                ValueError,
                f"{op}: 'updates' has shape [2], but x of shape [3] and indices of shape [1] "
                "along axis 0 need updates of shape [1]",
            ),
        ),
    )


def segment(
    op: str,
    fold: Callable[[Any], Any],
    empty: Callable[[np.dtype[Any]], Any],
    dtypes: tuple[str, ...],
    *,
    segments: int = 4,
    **more: Any,
) -> Row:
    """`fold` makes one slice of several, `empty(dtype)` is what no slices give.

    `segments`: so many that some are empty; fewer where a gradient does not like what they give.
    """

    def ref(data: Any, segment_ids: Any, num_segments: int) -> Any:
        """Segment by segment."""
        rest = data.shape[np.ndim(segment_ids) :]
        flat = data.reshape((np.size(segment_ids), *rest))
        y = np.full((num_segments, *rest), empty(data.dtype), data.dtype)
        for i in range(num_segments):
            mine = flat[np.ravel(segment_ids) == i]
            if len(mine):
                y[i] = fold(mine)
        return y

    def call(shape: tuple[int, ...], ids: list[int], num_segments: int) -> Any:
        return getattr(ops, op)(tensor(np.ones(shape)), tensor(np.int64(ids)), num_segments)

    return Row(
        op=op,
        ref=ref,
        samples=(
            S(A(), V(0, "int64"), num_segments=segments - 1),
            S(A(1), V([0], "int32"), num_segments=1),
            S(A(4, 2), V([2, 0, 2, 1], "int64"), num_segments=3),
            S(A(0, 3), I(0, high=1), num_segments=2),
            S(A(2, 0), I(2, high=2), num_segments=2),
            S(A("n", 3), I("n", high=segments), num_segments=segments),
            S(A("n", 2, 3), I("n", 2, high=segments, dtype="int32"), num_segments=segments),
            S(A(71, 229), I(71, high=10), num_segments=10),
            S(A(71, 229), I(71, 229, high=3), num_segments=max(3, segments)),
        ),
        dtypes=dtypes,
        domain_of=nearby,
        gradients=(0,),
        errors=(
            *(
                Mistake(
                    lambda index=index: call((2,), [0, index], 3),
                    IndexError,
                    f"{op}: index {index} (number 1 of 2) is out of range for an axis of size 3; "
                    "valid indices are 0..2",
                )
                for index in (3, -1)
            ),
            Mistake(
                lambda: call((2, 3), [0, 1, 1], 3),
                ValueError,
                f"{op}: 'segment_ids' has shape [3] and 'data' has shape [2, 3]; give one id for "
                "each slice of data along its first axes",
            ),
            Mistake(
                lambda: call((2,), [0, 1], -1),
                ValueError,
                f"{op}: num_segments is -1; it must not be negative",
            ),
        ),
        **more,
    )
