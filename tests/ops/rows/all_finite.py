# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import A, Row, S, V

import ostria as ost

ROW = Row(
    op="all_finite",
    fn=lambda *xs: ost._native.ops.all_finite(list(xs)),
    ref=lambda *xs: np.asarray(all(bool(np.all(np.isfinite(x))) for x in xs)),
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
    ),
    result="bool",
    gradients=(),
)
