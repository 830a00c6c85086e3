# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import BOOL, FLOATS, INTS, A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops

ROW = Row(
    op="squeeze",
    ref=lambda x, axis=None: np.squeeze(x, axis),
    samples=(
        S(A()),
        S(A(1)),
        S(A(1, 0), axis=0),
        S(A("n", 1, 3), axis=1),
        S(A(1, 2, 1), axis=(0, -1)),
        S(A(71, 1, 229)),
    ),
    dtypes=FLOATS + INTS + BOOL,
    domain_of=nearby,
    errors=(
        Mistake(
            lambda: ops.squeeze(tensor(np.ones((2, 3))), 1),
            ValueError,
            "squeeze: axis 1 of shape [2, 3] has size 3; only axes of size 1 can be removed; use "
            "reshape, or reduce the axis",
        ),
    ),
)
