# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import BOOL, FLOATS, INTS, A, I, Mistake, Row, S, V, tensor

import ostria as ost

ops = ost._native.ops

ROW = Row(
    op="gather",
    ref=lambda x, indices, axis=0: np.take(x, indices, axis),
    samples=(
        S(A(4), V(2, "int32")),
        S(A(1), V([0, -1, 0], "int64")),
        S(A(4), I(0, high=1)),
        S(A(0, 3), I(2, low=-3, high=3), axis=1),
        S(A(4, 3), I("n", low=-4, high=4)),
        S(A(4, 3), I("n", 2, low=-3, high=3, dtype="int32"), axis=1),
        S(A(2, 3, 4), I(5, low=-3, high=3), axis=1),
        S(A("n", 3), I(2, low=-3, high=3), axis=1),
        S(A(71, 229), I(301, low=-71, high=71)),
        S(A(71, 229), I(301, low=-229, high=229), axis=-1),
    ),
    dtypes=FLOATS + INTS + BOOL,
    domain_of=nearby,
    gradients=(0,),
    errors=(
        Mistake(
            lambda: ops.gather(tensor(np.ones(3)), tensor(np.int64([0, 3]))),
            IndexError,
            "gather: index 3 (number 1 of 2) is out of range for an axis of size 3; valid "
            "indices are "
            "-3..2",
        ),
        Mistake(
            lambda: ops.gather(tensor(np.ones(3)), tensor(np.float32([0]))),
            TypeError,
            "gather: indices must be int32 or int64, but 'indices' is float32[1]; cast them "
            "first, as "
            'in cast(indices, "int64")',
        ),
    ),
)
