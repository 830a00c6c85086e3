# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import FLOATS, SOME_INTS, A, Mistake, Row, S, V, tensor

import ostria as ost

ops = ost._native.ops
ROW = Row(
    op="argmin",
    ref=np.argmin,
    samples=(
        S(A()),
        S(A(1)),
        S(A(7), axis=-1),
        S(A("n", 4), axis=1),
        S(A("n", 4), axis=-1, keepdims=True),
        S(A(0, 4), axis=1),
        S(A(2, 3, 4), axis=1),
        S(A(2, 3, 4)),
        S(A(2, 3, 4), keepdims=True),
        S(A(71, 229), axis=0),
        S(A(71, 229), axis=1),
        S(V([3, 1, 3, 1])),
    ),
    dtypes=FLOATS + SOME_INTS,
    result="int64",
    domain_of=nearby,
    errors=(
        Mistake(
            lambda: ops.argmin(tensor(np.ones((2, 0), np.float32)), axis=1),
            ValueError,
            "argmin: no elements to choose from in float32[2, 0]; give at least one along the axis",
        ),
        Mistake(
            lambda: ops.argmin(tensor(np.ones((2, 3), np.float32)), axis=(0, 1)),
            ValueError,
            "argmin: takes one axis, or none for the flattened tensor, but (0, 1) was given; "
            "reshape x "
            "so that these axes are one",
        ),
    ),
)
