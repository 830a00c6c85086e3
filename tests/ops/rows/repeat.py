# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import BOOL, FLOATS, INTS, A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops

ROW = Row(
    op="repeat",
    ref=lambda x, repeats, axis=0: np.repeat(x, repeats, axis),
    samples=(
        S(A(1), repeats=3),
        S(A(4), repeats=1),
        S(A(0), repeats=2),
        S(A(3), repeats=0),
        S(A("n", 3), repeats=2),
        S(A("n", 3), repeats=2, axis=-1),
        S(A(2, 3, 2), repeats=3, axis=1),
        S(A(71, 229), repeats=2, axis=1),
    ),
    dtypes=FLOATS + INTS + BOOL,
    domain_of=nearby,
    errors=(
        Mistake(
            lambda: ops.repeat(tensor(np.ones(4)), -2),
            ValueError,
            "repeat: -2 repetitions are not possible; give an integer, 0 or more",
        ),
        Mistake(
            lambda: ops.repeat(tensor(np.ones(4)), 2, 1),
            ValueError,
            "repeat: axis 1 is out of range for a tensor of rank 1 (shape [4]); valid axes are "
            "-1..0",
        ),
    ),
)
