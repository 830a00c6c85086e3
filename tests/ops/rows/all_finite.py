# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import A, Row, S, V

import ostria as ost


def ref(*xs, outer=()):
    def whole(x, rows):
        return np.outer(x[:rows], x[rows:]) if rows else x

    counts = outer or (0,) * len(xs)
    with np.errstate(invalid="ignore"):
        tensors = [whole(x, rows) for x, rows in zip(xs, counts, strict=True)]
    return np.asarray(all(np.all(np.isfinite(x)) for x in tensors))


ROW = Row(
    op="all_finite",
    fn=lambda *xs, **attrs: ost._native.ops.all_finite(list(xs), **attrs),
    ref=ref,
    samples=(
        S(A("n", 4), A(3)),
        S(A(71, 229)),
        S(
            A(
                0,
            ),
            A(),
        ),
        S(A(3), V([1.0, np.inf])),
        S(V([[np.nan]]), A(2)),
        S(A(0, 2)),
        S(A(8), A(71, 2), outer=(3, 0)),
        S(V([1.0, np.inf, 0.0, 2.0]), outer=(2,)),
        S(V([1.0, 2.0, 0.0, np.nan]), outer=(2,)),
    ),
    result="bool",
    gradients=(),
)
