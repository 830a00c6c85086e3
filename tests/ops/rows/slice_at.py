# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import BOOL, FLOATS, INTS, A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops

ROW = Row(
    op="slice_at",
    ref=lambda x, axis, start, size: np.take(x, np.arange(start[0], start[0] + size[0]), axis),
    samples=(
        S(A(1), axis=0, start=(0,), size=(1,)),
        S(A(5), axis=0, start=(2,), size=(0,)),
        S(A("n", 4), axis=1, start=(1,), size=(2,)),
        S(A(5, 3), axis=-2, start=(3,), size=(2,)),
        S(A(71, 229), axis=1, start=(29,), size=(200,)),
    ),
    dtypes=FLOATS + INTS + BOOL,
    domain_of=nearby,
    errors=(
        Mistake(
            lambda: ops.slice_at(tensor(np.ones(4)), 0, (2,), (3,)),
            ValueError,
            "slice_at: elements 2..5 of axis 0 lie outside of shape [4]",
        ),
    ),
)
