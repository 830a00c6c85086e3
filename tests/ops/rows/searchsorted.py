# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import BOOL, FLOATS, INTS, A, Mistake, Row, S, V, tensor

import ostria as ost

ops = ost._native.ops

BORDERS = [0, 1, 1, 3]

ROW = Row(
    op="searchsorted",
    ref=lambda x, values, side="left": np.searchsorted(x, values, side),
    samples=(
        S(V(BORDERS), V(1)),
        S(V([1]), A(0)),
        S(V(np.zeros(0)), A(3)),
        S(V(BORDERS), V([0, 1, 2, 3, 4])),
        S(V(BORDERS), V([0, 1, 2, 3, 4]), side="right"),
        S(V(BORDERS), A("n", 3)),
        S(V(np.arange(100)), A("n", 3), side="right"),
        S(V(np.arange(101) // 3), A(71, 229)),
        *(
            S(V([-np.inf, -1.0, 0.0, np.inf, np.nan], t), V([np.nan, -0.0, np.inf], t), side=side)
            for t in ("float32", "float64", "float16")
            for side in ("left", "right")
        ),
    ),
    dtypes=FLOATS + INTS + BOOL,
    domain_of=nearby,
    result="int64",
    errors=(
        Mistake(
            lambda: ops.searchsorted(tensor(np.ones((2, 2))), tensor(np.ones(3))),
            ValueError,
            "searchsorted: 'x' must have rank 1 (sorted elements), but has rank 2 (shape [2, 2])",
        ),
        Mistake(
            lambda: ops.searchsorted(tensor(np.ones(2)), tensor(np.ones(3)), "middle"),
            ValueError,
            "searchsorted: side is 'middle'; accepted are 'left' and 'right'",
        ),
    ),
)
