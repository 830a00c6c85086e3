# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import BOOL, FLOATS, INTS, A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops

ROW = Row(
    op="triu",
    ref=lambda x, k=0: np.triu(x, k),
    samples=(
        S(A(1, 1)),
        S(A(0, 3)),
        S(A(3, 3)),
        S(A(2, 4), k=1),
        S(A(4, 2), k=-1),
        S(A(3, 3), k=9),
        S(A(3, 3), k=-9),
        S(A("n", 3)),
        S(A("n", 3, 2), k=1),
        S(A(71, 229), k=17),
    ),
    dtypes=FLOATS + INTS + BOOL,
    domain_of=nearby,
    errors=(
        Mistake(
            lambda: ops.triu(tensor(np.ones(4))),
            ValueError,
            "triu: needs a tensor of rank 2 or more, but 'x' has shape [4]; reshape it",
        ),
    ),
)
