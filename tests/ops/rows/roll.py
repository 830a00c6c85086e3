# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import BOOL, FLOATS, INTS, A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops

ROW = Row(
    op="roll",
    ref=lambda x, shift, axis=None: np.roll(x, shift, axis),
    samples=(
        S(A(), shift=1),
        S(A(1), shift=2, axis=0),
        S(A(4), shift=0, axis=0),
        S(A(4), shift=-8, axis=0),
        S(A(0, 3), shift=2, axis=0),
        S(A("n", 3), shift=1, axis=0),
        S(A("n", 3), shift=-11, axis=0),
        S(A("n", 3), shift=4),
        S(A("n", 3), shift=(1, -1), axis=(0, -1)),
        S(A(2, 3, 2), shift=1, axis=(1, 2)),
        S(A(71, 229), shift=(30, -500), axis=(0, 1)),
    ),
    dtypes=FLOATS + INTS + BOOL,
    domain_of=nearby,
    errors=(
        Mistake(
            lambda: ops.roll(tensor(np.ones(4)), (1, 2), 0),
            ValueError,
            "roll: 2 shifts (1, 2) for 1 axes (0); give one number for all, or one for each axis",
        ),
        Mistake(
            lambda: ops.roll(tensor(np.ones(4)), ()),
            ValueError,
            "roll: 0 shifts () for 0 axes (); give one number for all, or one for each axis",
        ),
        Mistake(
            lambda: ops.roll(tensor(np.ones(4)), 1, 1),
            ValueError,
            "roll: axis 1 is out of range for a tensor of rank 1 (shape [4]); valid axes are -1..0",
        ),
    ),
)
