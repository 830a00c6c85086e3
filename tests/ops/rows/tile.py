# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import BOOL, FLOATS, INTS, A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops

ROW = Row(
    op="tile",
    ref=lambda x, repetitions: np.tile(x, repetitions),
    samples=(
        S(A(), repetitions=(2, 3)),
        S(A(), repetitions=()),
        S(A(1), repetitions=(3,)),
        S(A(0), repetitions=(2, 2)),
        S(A(3), repetitions=(0,)),
        S(A("n", 3), repetitions=(2, 1)),
        S(A("n", 3), repetitions=(2,)),
        S(A("n", 2), repetitions=(2, 1, 3)),
        S(A(1, 1, 1, 1, 2, 1, 1), repetitions=(2, 2, 1, 1, 1, 1, 1, 2)),
        S(A(71, 229), repetitions=(2, 3)),
    ),
    dtypes=FLOATS + INTS + BOOL,
    domain_of=nearby,
    errors=(
        Mistake(
            lambda: ops.tile(tensor(np.ones(4)), (1, -1)),
            ValueError,
            "tile: -1 repetitions are not possible; give an integer, 0 or more",
        ),
    ),
)
