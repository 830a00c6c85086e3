# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import BOOL, FLOATS, INTS, A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops

ROW = Row(
    op="transpose",
    ref=lambda x, axes=None: np.transpose(x, axes),
    samples=(
        S(A()),
        S(A(1)),
        S(A(0, 3)),
        S(A("n", 4)),
        S(A("n", 3, 2), axes=(0, 2, 1)),
        S(A(2, 3, 4), axes=(1, -1, 0)),
        S(A(2, 3, 4), axes=(2, 1, 0)),
        S(A(71, 229)),
        S(A(3, 71, 29), axes=(0, 2, 1)),
        S(A(17, 5, 71), axes=(1, 0, 2)),
    ),
    dtypes=FLOATS + INTS + BOOL,
    domain_of=nearby,
    errors=(
        Mistake(
            lambda: ops.transpose(tensor(np.ones((2, 3))), (0, 0)),
            ValueError,
            "transpose: axis 0 is given twice in (0, 0) for a tensor of rank 2; name each axis "
            "once",
        ),
    ),
)
