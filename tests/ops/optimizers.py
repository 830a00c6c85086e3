# SPDX-License-Identifier: Apache-2.0
"""Rows of the multi-tensor updates: three variables, a step taken and a step not taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from row import WIDE, A, Row, S, V

import ostria as ost

SHAPES: tuple[tuple[int, ...], ...] = ((3, 5), (), (229,))
OUTER = (3, 0, 0)  # the first gradient as a column of 3 and a row of 5
BY_ROWS = (-1, 0, -1)  # the first and the third by rows: the sums of two of three, and of one
SUMS = {0: [[0.5] * 5, [-1.0, 2.0, 0.25, 0.0, 3.0], [0.0] * 5], 2: [1.5]}
ROWS = [2, 0, 2, 0, 1, 228]


def update(
    op: str,
    slots: int,
    step: Callable[..., tuple[np.ndarray, ...]],
    *,
    has_step: bool = False,
    outer: bool = True,
    shapes: tuple[tuple[int, ...], ...] = SHAPES,
    slot_shape: Callable[[tuple[int, ...], int], tuple[int, ...]] = lambda shape, slot: shape,
    attrs: tuple[dict[str, Any], ...] = ({},),
    by_rows: dict[str, Any] | None = None,
) -> Row:
    """`step(w, g, *slots, lr=, t=, **attrs)` gives the weight and its slots after one step.

    `outer`: whether gradients may be given as a column and a row. `by_rows`: attributes with which
    they may be given by rows.
    """
    n, groups = len(shapes), 2 + slots

    def split(flat: tuple[Any, ...]) -> tuple[list[list[Any]], tuple[Any, ...]]:
        return [list(flat[k * n : (k + 1) * n]) for k in range(groups)], flat[groups * n :]

    def fn(*flat: Any, **kw: Any) -> Any:
        tensors, scalars = split(flat)
        return getattr(ost._native.ops, op)(*tensors, *scalars, **kw)

    def ref(
        *flat: Any,
        weight_decay: float = 0.0,
        decay: Any = (),
        rates: Any = (),
        outer: Any = (),
        lazy: bool = False,
        **kw: Any,
    ) -> tuple[Any, ...]:
        (w, g, *rest), scalars = split(flat)
        counts = outer or (0,) * n
        named = []
        if -1 in counts:
            *scalars, named = scalars
        g = [np.outer(v[:k], v[k:]) if k > 0 else v for v, k in zip(g, counts, strict=True)]
        for i in (i for i in range(n) if counts[i] == -1):
            (count, *ids), sums = named[: len(g[i]) + 1], g[i]
            named, g[i] = named[len(ids) + 1 :], np.zeros_like(w[i])
            g[i][ids[:count]] = sums[:count]
        table, scale, commit = scalars[0], float(scalars[-2]), bool(scalars[-1])
        t = float(scalars[1]) if has_step else 1.0
        after = []
        for i in range(n):
            state = [s[i] for s in rest]
            if not commit:
                after.append((w[i], *state))
                continue
            lr = float(table[rates[i]] if rates else table)
            decayed = w[i] * (1 - lr * weight_decay) if not decay or decay[i] else w[i]
            new = step(decayed, scale * g[i], *state, lr=lr, t=t, **kw)
            if lazy:
                rows = g[i].reshape((g[i].shape[0], -1)) if g[i].ndim else g[i].reshape((1, 1))
                moves = np.any(rows != 0, axis=1).reshape(g[i].shape[:1] + (1,) * (g[i].ndim - 1))
                new = tuple(np.where(moves, a, b) for a, b in zip(new, (w[i], *state), strict=True))
            after.append(new)
        return tuple(a[k] for k in range(1 + slots) for a in after)

    def sample(commit: bool, **kw: Any) -> Any:
        tensors = [A(*s) for s in shapes]
        outer = kw.get("outer", (0,) * n)
        gradients = [(rows + 5,) if rows > 0 else s for s, rows in zip(shapes, outer, strict=True)]
        tensors += [V(SUMS[i]) if outer[i] < 0 else A(*s) for i, s in enumerate(gradients)]
        tensors += [A(*slot_shape(s, k), low=0.1, high=2) for k in range(slots) for s in shapes]
        scalars = [
            V([0.125, 0.5] if "rates" in kw else 0.125, "float32"),
            *([V(7, "int64")] if has_step else []),
            V(0.5, "float32"),
            V(commit, "bool"),
            *([V(ROWS, "int32")] if -1 in outer else []),
        ]
        return S(*tensors, *scalars, **kw)

    samples = [sample(True, **kw) for kw in attrs] + [sample(False, **kw) for kw in attrs]
    samples += [
        sample(True, **attrs[0], weight_decay=0.01),
        sample(True, **attrs[0], weight_decay=0.01, decay=(1, 0, 1, 1)[:n]),
        sample(True, **attrs[0], weight_decay=0.01, rates=(1, 0, 1, 0)[:n]),
    ]
    if outer:
        samples += [
            sample(True, **attrs[0], weight_decay=0.01, outer=OUTER),
            sample(False, **attrs[0], outer=OUTER),
        ]
    if by_rows is not None:
        some = {**attrs[0], **by_rows}
        samples += [sample(commit, **some, outer=BY_ROWS) for commit in (True, False)]
        samples += [sample(True, **some, outer=BY_ROWS, weight_decay=0.01, decay=(0, 1, 0))]
        samples += [sample(True, **some)]
    return Row(
        op=op,
        ref=ref,
        fn=fn,
        samples=tuple(samples),
        dtypes=WIDE,
        gradients=(),
        batch="variables have no batch axis",
        slack=3,
    )
