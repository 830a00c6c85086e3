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
) -> Row:
    """`step(w, g, *slots, lr=, t=, **attrs)` gives the weight and its slots after one step.

    `outer`: whether gradients may be given as a column and a row.
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
        **kw: Any,
    ) -> tuple[Any, ...]:
        (w, g, *rest), scalars = split(flat)
        counts = outer or (0,) * n
        g = [np.outer(v[:k], v[k:]) if k else v for v, k in zip(g, counts, strict=True)]
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
            after.append(step(decayed, scale * g[i], *state, lr=lr, t=t, **kw))
        return tuple(a[k] for k in range(1 + slots) for a in after)

    def sample(commit: bool, **kw: Any) -> Any:
        tensors = [A(*s) for s in shapes]
        outer = kw.get("outer", (0,) * n)
        gradients = [(rows + 5,) if rows else s for s, rows in zip(shapes, outer, strict=True)]
        tensors += [A(*s) for s in gradients]
        tensors += [A(*slot_shape(s, k), low=0.1, high=2) for k in range(slots) for s in shapes]
        scalars = [
            V([0.125, 0.5] if "rates" in kw else 0.125, "float32"),
            *([V(7, "int64")] if has_step else []),
            V(0.5, "float32"),
            V(commit, "bool"),
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
