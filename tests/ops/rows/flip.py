# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import BOOL, FLOATS, INTS, A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops

ROW = Row(
    op="flip",
    ref=lambda x, axis=None: np.flip(x, axis),
    samples=(
        S(A()),
        S(A(1)),
        S(A(0, 2), axis=0),
        S(A("n", 3), axis=0),
        S(A(2, 3, 2), axis=(0, -1)),
        S(A(71, 229)),
    ),
    dtypes=FLOATS + INTS + BOOL,
    domain_of=nearby,
    errors=(
        Mistake(
            lambda: ops.flip(tensor(np.ones(4)), 1),
            ValueError,
            "flip: axis 1 is out of range for a tensor of rank 1 (shape [4]); valid axes are -1..0",
        ),
    ),
)
