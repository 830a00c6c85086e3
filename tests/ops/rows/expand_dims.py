# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import BOOL, FLOATS, INTS, A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops

ROW = Row(
    op="expand_dims",
    ref=lambda x, axis: np.expand_dims(x, axis),
    samples=(
        S(A(), axis=(0, 1)),
        S(A(0), axis=0),
        S(A("n", 3), axis=-1),
        S(A(2, 3), axis=(0, -1)),
        S(A(71, 229), axis=1),
    ),
    dtypes=FLOATS + INTS + BOOL,
    domain_of=nearby,
    errors=(
        Mistake(
            lambda: ops.expand_dims(tensor(np.ones(3)), 3),
            ValueError,
            "expand_dims: axis 3 is out of range for a result of rank 2 (from shape [3]); valid "
            "axes "
            "are -2..1",
        ),
    ),
)
